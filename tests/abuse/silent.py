"""A process that begins calls, says nothing on them, and keeps them open until its stdin ends.

It says ``connected`` on stdout and waits for a line on its stdin; then ``begun`` tells that the
headers of its calls are on the way, and at the end a line of JSON what the calls came to and how
many were still open. With ``--send`` the calls send messages of that many bytes, which are valid
and of no use, and the process ends with them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc

from productsearch import v1
from tests.pictures import noise_jpeg

_READY_S = 60.0


async def _hold(asked: argparse.Namespace) -> Counter[str]:
    metadata = (("authorization", f"Bearer {asked.token}"),) if asked.token else ()
    ended: Counter[str] = Counter()
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(_channel(asked)) for _ in range(asked.connections)
        ]
        for channel in channels:
            await asyncio.wait_for(channel.channel_ready(), _READY_S)
        message = _message(asked)
        print("connected", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        calls: list[Any] = []
        for number in range(asked.count):
            channel = channels[number % asked.connections]
            if asked.bulk:
                calls.append(channel.stream_stream(asked.path)(metadata=metadata))
            else:
                calls.append(channel.stream_unary(asked.path)(metadata=metadata))
        waiting = [asyncio.create_task(_noted(call, ended)) for call in calls]
        await asyncio.sleep(0.1)
        print("begun", flush=True)
        if asked.send:
            await asyncio.gather(
                *(_sent(call, message, asked) for call in calls), return_exceptions=True
            )
            await asyncio.gather(*waiting)
        else:
            await asyncio.to_thread(sys.stdin.read)
        ended["open"] = sum(not call.done() for call in calls)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return ended


def _channel(asked: argparse.Namespace) -> Any:
    options: list[tuple[str, Any]] = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
    ]
    if not asked.tls:
        return grpc.aio.insecure_channel(asked.address, options=options)
    trusted, key, certificate = (Path(path).read_bytes() for path in asked.tls)
    credentials = grpc.ssl_channel_credentials(trusted, key, certificate)
    return grpc.aio.secure_channel(asked.address, credentials, options=options)


def _message(asked: argparse.Namespace) -> bytes:
    """Return what the calls send."""
    if not asked.bulk:
        return padding(asked.send) if asked.send else b""
    image = v1.ImageSource(content=noise_jpeg(asked.send)[: asked.send])
    item = v1.BulkAddImagesRequest.Item(key="k", new_image=v1.NewImage(image=image, brief="b"))
    return v1.BulkAddImagesRequest(item=item).SerializeToString()


async def _sent(call: Any, message: bytes, asked: argparse.Namespace) -> None:
    """Send what is asked for on a call; read what a bulk stream answers."""
    if not asked.bulk:
        await call.write(message)
        await call.done_writing()
        return

    async def read() -> None:
        while await call.read() is not grpc.aio.EOF:
            pass

    async def write() -> None:
        for _ in range(asked.items):
            await call.write(message)
        await call.done_writing()

    await asyncio.gather(read(), write(), return_exceptions=True)


def padding(size: int) -> bytes:
    """Return a message of ``size`` bytes, all in a field that nobody knows."""
    tag, length_bytes = b"\xfa\xff\x03", 4
    left = size - len(tag) - length_bytes
    length = bytes([left >> shift & 127 | 128 for shift in (0, 7, 14)] + [left >> 21])
    return tag + length + bytes(left)


async def _noted(call: Any, ended: Counter[str]) -> None:
    code = await call.code()
    ended[code.name] += 1


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("path")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--token", default="")
    parser.add_argument("--bulk", action="store_true")
    parser.add_argument("--send", type=int, default=0)
    parser.add_argument("--items", type=int, default=1)
    parser.add_argument("--tls", nargs=3, metavar=("CA", "KEY", "CERTIFICATE"))
    print(json.dumps(asyncio.run(_hold(parser.parse_args()))), flush=True)


if __name__ == "__main__":
    main()
