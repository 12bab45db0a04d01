"""A process that begins calls, says nothing on them, and keeps them open until its stdin ends.

``begun`` on stdout tells that their headers are on the way; at the end a line of JSON tells what
the calls came to and how many were still open.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import grpc

_READY_S = 60.0


async def _hold(asked: argparse.Namespace) -> Counter[str]:
    metadata = (("authorization", f"Bearer {asked.token}"),) if asked.token else ()
    ended: Counter[str] = Counter()
    async with AsyncExitStack() as stack:
        calls: list[Any] = []
        for number in range(asked.connections):
            channel = await stack.enter_async_context(_channel(asked))
            await asyncio.wait_for(channel.channel_ready(), _READY_S)
            for _ in range(number, asked.count, asked.connections):
                if asked.bulk:
                    calls.append(channel.stream_stream(asked.path)(metadata=metadata))
                else:
                    calls.append(channel.stream_unary(asked.path)(metadata=metadata))
        waiting = [asyncio.create_task(_noted(call, ended)) for call in calls]
        await asyncio.sleep(0.1)
        print("begun", flush=True)
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
    trusted, key, certificate = (open(path, "rb").read() for path in asked.tls)  # noqa: SIM115, PTH123
    credentials = grpc.ssl_channel_credentials(trusted, key, certificate)
    return grpc.aio.secure_channel(asked.address, credentials, options=options)


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
    parser.add_argument("--tls", nargs=3, metavar=("CA", "KEY", "CERTIFICATE"))
    print(json.dumps(asyncio.run(_hold(parser.parse_args()))), flush=True)


if __name__ == "__main__":
    main()
