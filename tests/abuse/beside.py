"""A process that searches all along as one caller, one small search after the other, and asks for
health at the same port. For each line on its stdin it says what came of that since the last one.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from productsearch import v1
from tests.pictures import numbered_jpeg

_PAUSE_S = 0.005
_PATIENCE_S = 20.0
_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
]


class _Beside:
    def __init__(self, channel: Any, asked: argparse.Namespace) -> None:
        self._search = v1.ProductSearchStub(channel).SearchImages
        self._check = health_pb2_grpc.HealthStub(channel).Check
        self._metadata = (("authorization", f"Bearer {asked.token}"),) if asked.token else ()
        self._asks_health = not asked.tls
        self._numbers = itertools.count()
        self._outcomes: Counter[str] = Counter()
        self._search_s: list[float] = []
        self._health_s: list[float] = []

    async def search(self) -> None:
        while True:
            image = v1.ImageSource(content=numbered_jpeg(next(self._numbers)))
            request = v1.SearchImagesRequest(image=image)
            call = self._search(request, metadata=self._metadata, timeout=_PATIENCE_S)
            self._search_s.append(await self._timed(call))
            if self._asks_health:
                call = self._check(health_pb2.HealthCheckRequest(), timeout=_PATIENCE_S)
                self._health_s.append(await self._timed(call))
            await asyncio.sleep(_PAUSE_S)

    async def _timed(self, call: Any) -> float:
        began_s = time.perf_counter()
        try:
            await call
            self._outcomes["OK"] += 1
        except grpc.aio.AioRpcError as error:
            self._outcomes[f"{error.code().name}: {error.details()}"] += 1
        return time.perf_counter() - began_s

    def told(self) -> str:
        """Return what came of it since the last time."""
        told = {
            "outcomes": self._outcomes,
            "search_s": sorted(self._search_s),
            "health_s": sorted(self._health_s),
        }
        line = json.dumps(told)
        self._outcomes.clear()
        self._search_s, self._health_s = [], []
        return line


async def _run(asked: argparse.Namespace) -> None:
    async with _channel(asked) as channel:
        await channel.channel_ready()
        beside = _Beside(channel, asked)
        searching = asyncio.create_task(beside.search())
        while await asyncio.to_thread(sys.stdin.readline):
            print(beside.told(), flush=True)
        searching.cancel()


def _channel(asked: argparse.Namespace) -> Any:
    if not asked.tls:
        return grpc.aio.insecure_channel(asked.address, options=_OPTIONS)
    trusted, key, certificate = (Path(path).read_bytes() for path in asked.tls)
    credentials = grpc.ssl_channel_credentials(trusted, key, certificate)
    return grpc.aio.secure_channel(asked.address, credentials, options=_OPTIONS)


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--token", default="")
    parser.add_argument("--tls", nargs=3, metavar=("CA", "KEY", "CERTIFICATE"))
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
