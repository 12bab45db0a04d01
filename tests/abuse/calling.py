"""A process that searches at a steady rate as one caller, and says what its calls came to.

Each search is of another image; with ``--poison`` it is of another URL that the upstream trips
over. A line of JSON at the end has the outcomes by reason.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter

import grpc

from productsearch import v1
from tests.pictures import jpeg

_OPTIONS = (("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))


async def _call(asked: argparse.Namespace) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    metadata = (("authorization", f"Bearer {asked.caller}"),)
    async with grpc.aio.insecure_channel(asked.address, options=_OPTIONS) as channel:
        await channel.channel_ready()
        search = v1.ProductSearchStub(channel).SearchImages

        async def one(number: int) -> None:
            try:
                await search(_request(asked, number), metadata=metadata, timeout=10)
                outcomes["OK"] += 1
            except grpc.aio.AioRpcError as error:
                reason = v1.reason_of(error)
                told = error.code().name if reason is None else v1.ErrorReason.Name(reason)
                outcomes[told] += 1

        began_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(round(asked.per_s * asked.seconds)):
                group.create_task(one(number))
                due_s = began_s + (number + 1) / asked.per_s
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
    return outcomes


def _request(asked: argparse.Namespace, number: int) -> v1.SearchImagesRequest:
    if asked.poison:
        url = f"http://a..b/{asked.caller}/{number}.jpg"
        return v1.SearchImagesRequest(image=v1.ImageSource(url=url))
    content = jpeg(0) + f"{asked.caller} {number}".encode()
    return v1.SearchImagesRequest(image=v1.ImageSource(content=content))


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("caller")
    parser.add_argument("--per-s", type=float, default=10)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--poison", action="store_true")
    print(json.dumps(asyncio.run(_call(parser.parse_args()))), flush=True)


if __name__ == "__main__":
    main()
