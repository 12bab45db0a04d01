"""Default deadlines are set by interceptors that change nothing else about a call."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest

from productsearch import v1
from productsearch.v1 import aio
from productsearch.v1.connecting import service_config
from productsearch.v1.deadlines import DefaultDeadlines
from tests.clients.serving import Request, Response, added, item, serving, summary
from tests.ports import closed_port

REQUEST = v1.SearchImagesRequest()
METADATA = (("authorization", "Bearer token"),)
# A call without a deadline has 2^63 s left, says a servicer's context.
A_YEAR_S = 366 * 86_400


class Noting:
    """Handlers that note the deadline and the token of each call."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.tokens: list[Any] = []

    def _note(self, context: grpc.ServicerContext) -> None:
        self.seconds.append(context.time_remaining() or 0)
        self.tokens.append(dict(context.invocation_metadata()).get("authorization"))

    def search(
        self, _: v1.SearchImagesRequest, context: grpc.ServicerContext
    ) -> v1.SearchImagesResponse:
        """Answer a search."""
        self._note(context)
        return v1.SearchImagesResponse(log_id=7)

    def bulk(
        self, requests: Iterator[Request], context: grpc.ServicerContext
    ) -> Iterator[Response]:
        """Answer a bulk stream."""
        self._note(context)
        for request in requests:
            yield added(request.item.key)
        yield summary(1)

    def default_deadlines(self) -> list[bool]:
        """Return for each call whether its deadline was the default of 30 s."""
        return [20 < seconds <= 31 for seconds in self.seconds]


def _requests() -> Iterator[Request]:
    yield Request(item=item("0"))


def test_positional_arguments_are_as_the_stub_declares_them() -> None:
    """``stub.Method(request, timeout, metadata)`` works in each way to call."""
    noting = Noting()
    with serving(noting.bulk, noting.search) as address, v1.connect(address) as channel:
        stub = v1.ProductSearchStub(channel)
        assert 7 == stub.SearchImages(REQUEST, None, METADATA).log_id
        response, call = stub.SearchImages.with_call(REQUEST, None, METADATA)
        assert (7, grpc.StatusCode.OK) == (response.log_id, call.code())
        assert 7 == stub.SearchImages.future(REQUEST, None, METADATA).result().log_id
        assert [True] * 3 == noting.default_deadlines()
        assert 2 == len([*stub.BulkAddImages(_requests(), None, METADATA)])
        assert noting.seconds[3] > A_YEAR_S, "a stream has no default deadline"
        stub.SearchImages(REQUEST, 7, METADATA)
        assert 1 < noting.seconds[4] <= 8
    assert ["Bearer token"] * 5 == noting.tokens


def test_calls_and_streams_with_asyncio() -> None:
    """The same with asyncio, where arguments are named; a stream can be written to as well."""
    noting = Noting()
    metadata = grpc.aio.Metadata(*METADATA)

    async def call(address: str) -> None:
        async with aio.connect(address) as channel:
            stub = v1.ProductSearchStub(channel)
            made = stub.SearchImages(REQUEST, metadata=metadata)
            with pytest.raises(NotImplementedError):  # if not: correct what aio.connect says
                made.time_remaining()
            assert 7 == (await made).log_id
            assert grpc.StatusCode.OK == await made.code()
            stream = stub.BulkAddImages(_requests(), None, metadata)
            assert 2 == len([response async for response in stream])
            written = stub.BulkAddImages(None, None, metadata)
            await written.write(Request(item=item("0")))
            await written.done_writing()
            assert 2 == len([response async for response in written])
            await stub.SearchImages(REQUEST, timeout=7, metadata=METADATA)

    with serving(noting.bulk, noting.search) as address:
        asyncio.run(call(address))
    assert [True, False, False, False] == noting.default_deadlines()
    assert min(noting.seconds[1:3]) > A_YEAR_S, "a stream has no default deadline"
    assert 1 < noting.seconds[3] <= 8
    assert ["Bearer token"] * 4 == noting.tokens


class _Recording(grpc.UnaryUnaryClientInterceptor):
    """Notes the details of the calls that come through it."""

    def __init__(self) -> None:
        self.details: list[Any] = []

    def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.ClientCallDetails, Any], Any],
        client_call_details: grpc.ClientCallDetails,
        request: Any,
    ) -> Any:
        """Continue the call unchanged."""
        self.details.append(client_call_details)
        return continuation(client_call_details, request)


def test_the_other_details_of_a_call_are_kept() -> None:
    """Only the timeout is set; the interceptors after it get all else as the caller gave it."""
    recording = _Recording()
    credentials = grpc.access_token_call_credentials("token")
    with serving(search=Noting().search) as address, grpc.insecure_channel(address) as plain:
        channel = grpc.intercept_channel(plain, DefaultDeadlines(service_config()), recording)
        call = v1.ProductSearchStub(channel).SearchImages.future
        call(REQUEST, None, METADATA, credentials, True, grpc.Compression.Gzip).cancel()
    (details,) = recording.details
    assert "/productsearch.v1.ProductSearch/SearchImages" == details.method
    assert (30.0, METADATA, credentials) == (details.timeout, details.metadata, details.credentials)
    assert (True, grpc.Compression.Gzip) == (details.wait_for_ready, details.compression)


def test_each_method_has_the_timeout_of_the_service_config() -> None:
    """Batch deletes have 300 s, all other unary calls 30 s."""
    recording = _Recording()
    with serving() as address, grpc.insecure_channel(address) as plain:
        channel = grpc.intercept_channel(plain, DefaultDeadlines(service_config()), recording)
        stub = v1.ProductSearchStub(channel)
        stub.BatchDeleteImages.future(v1.BatchDeleteImagesRequest()).cancel()
        stub.AddImage.future(v1.AddImageRequest()).cancel()
    assert [300, 30] == [details.timeout for details in recording.details]


def test_wait_for_ready_is_kept() -> None:
    """A call waits for a connection if the caller says so, and else fails at once."""
    with closed_port() as port, v1.connect(f"127.0.0.1:{port}") as channel:
        add = v1.ProductSearchStub(channel).AddImage.future
        error = add(v1.AddImageRequest()).exception(timeout=20)
        assert isinstance(error, grpc.RpcError)
        assert grpc.StatusCode.UNAVAILABLE == error.code()
        waiting = add(v1.AddImageRequest(), wait_for_ready=True)
        with pytest.raises(grpc.FutureTimeoutError):
            waiting.result(timeout=0.5)
        assert waiting.cancel()


def test_errors_are_the_calls_own() -> None:
    """A failed call raises an error that is its call too, in each way to call."""

    def refuse(_: v1.SearchImagesRequest, context: grpc.ServicerContext) -> Any:
        context.set_trailing_metadata((("why", "because"),))
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")

    with serving(search=refuse) as address, v1.connect(address) as channel:
        search = v1.ProductSearchStub(channel).SearchImages
        future = search.future(REQUEST)
        for call in (search, search.with_call, lambda _: future.result()):
            with pytest.raises(grpc.RpcError, match="not you") as caught:
                call(REQUEST)
            error: Any = caught.value
            assert (grpc.StatusCode.PERMISSION_DENIED, "not you") == (error.code(), error.details())
            assert ("why", "because") in [tuple(pair) for pair in error.trailing_metadata()]


class _Waiting:
    """A search that waits until its caller has gone."""

    def __init__(self) -> None:
        self.began, self.left = threading.Event(), threading.Event()

    def __call__(self, _: v1.SearchImagesRequest, context: grpc.ServicerContext) -> Any:
        context.add_callback(self.left.set)
        self.began.set()
        self.left.wait(20)
        return v1.SearchImagesResponse()


@pytest.mark.parametrize("how", ["cancel", "drop"])
def test_leaving_a_future_cancels_the_call(how: str) -> None:
    """The server's call ends when the future is cancelled or dropped."""
    waiting = _Waiting()
    with serving(search=waiting) as address, v1.connect(address) as channel:
        future = v1.ProductSearchStub(channel).SearchImages.future(REQUEST)
        assert waiting.began.wait(10)
        assert future.running()
        if how == "cancel":
            assert future.cancel()
            assert (True, grpc.StatusCode.CANCELLED) == (future.cancelled(), future.code())
        del future
        gc.collect()
        assert waiting.left.wait(10)


@pytest.mark.parametrize("how", ["call", "task"])
def test_cancelling_ends_the_call_with_asyncio(how: str) -> None:
    """The server's call ends when the call, or the task that awaits it, is cancelled."""
    waiting = _Waiting()

    async def leave(address: str) -> None:
        async with aio.connect(address) as channel:
            call = v1.ProductSearchStub(channel).SearchImages(REQUEST)

            async def read() -> None:
                await call

            reading = asyncio.create_task(read())
            assert await asyncio.to_thread(waiting.began.wait, 10)
            assert not call.done()
            assert call.cancel() if how == "call" else reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert (True, grpc.StatusCode.CANCELLED) == (call.cancelled(), await call.code())
            assert await asyncio.to_thread(waiting.left.wait, 10)

    with serving(search=waiting) as address:
        asyncio.run(leave(address))


def test_a_call_that_is_cancelled_at_once_is_never_made() -> None:
    """Cancelling before the event loop runs again leaves no task and no warning behind."""
    noting = Noting()

    async def leave(address: str) -> None:
        async with aio.connect(address) as channel:
            call = v1.ProductSearchStub(channel).SearchImages(REQUEST)
            assert call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert (True, grpc.StatusCode.CANCELLED) == (call.cancelled(), await call.code())
            assert {asyncio.current_task()} >= {
                task for task in asyncio.all_tasks() if "poll" not in repr(task)
            }

    with serving(search=noting.search) as address:
        asyncio.run(leave(address))
    assert [] == noting.seconds
