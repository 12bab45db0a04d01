"""The server's status is found behind the one that grpc.aio sets when a write fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import grpc

from productsearch import v1
from productsearch.v1 import aio
from productsearch.v1.aio_endings import WRITE_FAILED, first_ending, true_ending
from tests.clients.serving import Request, Response, item, serving

STREAMS = 20


def _stop(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
    next(requests)
    context.abort(grpc.StatusCode.UNAVAILABLE, "stopping")
    yield Response()


async def _write_until_it_fails(call: Any) -> str:
    try:
        while True:
            await call.write(Request(item=item("0")))
    except grpc.aio.AioRpcError as error:
        return error.details() or ""
    except asyncio.InvalidStateError:
        return ""


def test_a_failed_write_hides_the_servers_status() -> None:
    """true_ending gives the server's status. If WRITE_FAILED is never seen, it is not needed."""

    async def write(address: str) -> None:
        raised = []
        async with aio.connect(address) as channel:
            stub = v1.ProductSearchStub(channel)
            for _ in range(STREAMS):
                call: Any = stub.BulkAddImages()
                first = first_ending(call)
                raised.append(await _write_until_it_fails(call))
                ended = await true_ending(call, first)
                assert (grpc.StatusCode.UNAVAILABLE, "stopping") == (ended.code(), ended.details())
        assert WRITE_FAILED in raised

    with serving(_stop) as address:
        asyncio.run(write(address))
