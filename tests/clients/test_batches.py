"""A batch delete of any length, with both kinds of channel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from productsearch import v1
from productsearch.v1 import aio

Request = v1.BatchDeleteImagesRequest
Response = v1.BatchDeleteImagesResponse

KINDS = pytest.mark.parametrize("kind", ["sync", "asyncio"])


def _status(reason: str, code: int) -> status_pb2.Status:
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="productsearch.v1"))
    return status_pb2.Status(code=code, message="what happened", details=[info])


class _Batches(v1.ProductSearchServicer):
    """Fails the first signature of each call, and from one call on all of them."""

    def __init__(self, failing: int) -> None:
        self.calls: list[Request] = []
        self._failing = failing

    def BatchDeleteImages(self, request: Request, context: Any) -> Response:
        """Answer a call."""
        self.calls.append(request)
        if len(self.calls) >= self._failing:
            failed = _status("RATE_LIMITED", code_pb2.RESOURCE_EXHAUSTED)
            context.abort_with_status(rpc_status.to_status(failed))
        response = Response(failed_count=1)
        response.results.extend(Response.Result(cont_sign=sign) for sign in request.cont_signs)
        if request.cont_signs:
            response.results[0].error.CopyFrom(_status("IMAGE_NOT_FOUND", code_pb2.NOT_FOUND))
        return response


@contextmanager
def _serving(servicer: _Batches) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    v1.add_ProductSearchServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def _delete(kind: str, servicer: _Batches, request: Request) -> Response:
    """Delete with the helper of that kind of channel."""

    async def delete(target: str) -> Response:
        async with aio.connect(target) as channel:
            stub: Any = v1.ProductSearchStub(channel)
            return await aio.batch_delete(stub, request)

    with _serving(servicer) as target:
        if kind == "asyncio":
            return asyncio.run(delete(target))
        with v1.connect(target) as channel:
            return v1.batch_delete(v1.ProductSearchStub(channel), request)


def _request(count: int) -> Request:
    signs = [f"1,{number}" for number in range(count)]
    return Request(library="shoes", allow_missing=True, cont_signs=signs)


@KINDS
@pytest.mark.parametrize("sizes", [[0], [1], [10_000], [10_000, 1], [10_000, 10_000, 5_000]])
def test_it_is_split_at_the_services_bound(kind: str, sizes: list[int]) -> None:
    """Calls of at most 10,000 signatures; each signature has its result, in order."""
    servicer, request = _Batches(99), _request(sum(sizes))
    response = _delete(kind, servicer, request)
    assert sizes == [len(call.cont_signs) for call in servicer.calls]
    assert {("shoes", True)} == {(call.library, call.allow_missing) for call in servicer.calls}
    assert [*request.cont_signs] == [result.cont_sign for result in response.results]
    assert len(sizes) == response.failed_count


@KINDS
def test_the_first_calls_failure_is_raised(kind: str) -> None:
    """Nothing was deleted: the error is that of the call."""
    servicer = _Batches(1)
    with pytest.raises(grpc.RpcError) as failed:
        _delete(kind, servicer, _request(25_000))
    assert v1.ErrorReason.RATE_LIMITED == v1.reason_of(failed.value)
    assert 1 == len(servicer.calls)


@KINDS
def test_a_later_failure_stands_beside_what_it_left(kind: str) -> None:
    """What was deleted is told; no further call is made."""
    servicer, request = _Batches(2), _request(25_000)
    response = _delete(kind, servicer, request)
    assert 2 == len(servicer.calls)
    assert [*request.cont_signs] == [result.cont_sign for result in response.results]
    assert 15_001 == response.failed_count
    reasons = [v1.reason_of(result.error) for result in response.results]
    limited = v1.ErrorReason.RATE_LIMITED
    assert [v1.ErrorReason.IMAGE_NOT_FOUND, *[None] * 9_999, *[limited] * 15_000] == reasons


def test_an_error_of_grpc_itself_has_its_code_beside_the_signature() -> None:
    """A server that goes away between two calls: UNAVAILABLE with a text."""

    class Stub:
        calls = 0

        def BatchDeleteImages(self, request: Request, **_: Any) -> Response:
            """Answer once, then as a channel to nobody does."""
            self.calls += 1
            if self.calls == 1:
                return Response(results=[Response.Result(cont_sign=s) for s in request.cont_signs])
            with v1.connect("127.0.0.1:1") as channel:
                return v1.ProductSearchStub(channel).BatchDeleteImages(request)

    stub: Any = Stub()
    last = v1.batch_delete(stub, _request(10_001)).results[-1]
    assert code_pb2.UNAVAILABLE == last.error.code
    assert last.error.message
