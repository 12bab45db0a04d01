"""Stops servers that have calls under way, each hurried at another moment: ``python -m`` with how
many. A process of its own, as gRPC may end the one in which it is stopped at a wrong moment.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import Any

import grpc
import uvloop

from productsearch_service.rpc.admission import Admission
from productsearch_service.server.drain import drain

METHOD = "/a.Service/Wait"
WITHIN_S = 10.0


@dataclass(frozen=True)
class Times:
    """The settings of a drain."""

    drain_grace_s: float
    drain_delay_s: float = 0.0


async def stop(*, calls: int, begun_s: float, hurry_s: float, grace_s: float) -> None:
    """Stop a server that has so many calls; the second signal comes ``hurry_s`` after the first."""

    async def wait(_: bytes, __: Any) -> None:
        await asyncio.Event().wait()

    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    handlers = {"Wait": grpc.unary_unary_rpc_method_handler(wait)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.Service", handlers),))
    await server.start()
    hurry = asyncio.Event()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        begun = [channel.unary_unary(METHOD)(b"") for _ in range(calls)]
        ends = asyncio.gather(*(call.code() for call in begun))
        await asyncio.sleep(begun_s)
        asyncio.get_running_loop().call_later(hurry_s, hurry.set)
        times: Any = Times(grace_s)
        await asyncio.wait_for(drain(server, Admission(), hurry, times), WITHIN_S)
        codes = await asyncio.wait_for(ends, WITHIN_S)
    assert grpc.StatusCode.OK not in codes


async def main(count: int) -> None:
    """Stop so many servers."""
    for nth in range(count):
        await stop(
            calls=nth % 3,
            begun_s=0.003 * (nth % 4),
            hurry_s=0.002 * (nth % 7) * (nth % 5 > 0),
            grace_s=(5.0, 0.01, 0.0)[nth % 3] if nth % 2 else 5.0,
        )


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
