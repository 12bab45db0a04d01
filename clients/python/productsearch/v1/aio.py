"""``connect``, ``bulk_add``, ``batch_delete`` and ``search_all`` for asyncio.

The generated stub is the same: over a channel of this module the methods of ``ProductSearchStub``
are awaited. Errors are ``grpc.aio.AioRpcError``, which is a ``grpc.RpcError``, and the same
functions read them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from productsearch.v1.aio_endings import first_ending, true_ending
from productsearch.v1.batches import add_failed, add_results, parts_of
from productsearch.v1.bulk import UNANSWERED_MAX, BulkInterrupted, Refused, Unanswered
from productsearch.v1.connecting import (
    KEEPALIVE_S,
    channel_arguments,
    check_target,
    service_config,
)
from productsearch.v1.deadlines import AsyncDefaultDeadlines
from productsearch.v1.product_search_pb2 import (
    BatchDeleteImagesRequest,
    BatchDeleteImagesResponse,
    BulkAddImagesRequest,
    BulkAddImagesResponse,
    SearchImagesRequest,
)
from productsearch.v1.searching import turn
from productsearch.v1.tls import channel_credentials
from productsearch.v1.tokens import AsyncTokenInterceptor, TokenChannel, checked
from productsearch.v1.told_errors import AsyncErrors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType
    from typing import Self, TypeAlias

    from productsearch.v1.product_search_pb2 import SearchResult
    from productsearch.v1.product_search_pb2_grpc import ProductSearchAsyncStub
    from productsearch.v1.tls import TlsConfig
    from productsearch.v1.tokens import Token

    _Call: TypeAlias = grpc.aio.StreamStreamCall[BulkAddImagesRequest, BulkAddImagesResponse]
    _Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]


def connect(
    target: str,
    *,
    token: Token | None = None,
    tls: bool | TlsConfig | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    keepalive_s: float = KEEPALIVE_S,
    keepalive_without_calls: bool = False,
    options: Sequence[tuple[str, str | int]] = (),
) -> grpc.aio.Channel:
    """Return a channel for asyncio to the service at ``target``; see ``productsearch.v1.connect``.

    The channel belongs to the event loop that runs when it is made. ``time_remaining`` of a unary
    call raises NotImplementedError: gRPC does not offer it for calls with an interceptor.
    """
    check_target(target)
    arguments = channel_arguments(keepalive_s, keepalive_without_calls, options)
    secure = channel_credentials(tls, credentials, has_token=token is not None)
    give = checked(token) if token is not None else None
    interceptors: list[grpc.aio.ClientInterceptor] = [
        AsyncErrors(target),
        AsyncDefaultDeadlines(service_config()),
    ]
    if give is not None:
        interceptors.append(AsyncTokenInterceptor(give))
    if secure is None:
        channel = grpc.aio.insecure_channel(target, options=arguments, interceptors=interceptors)
    else:
        channel = grpc.aio.secure_channel(
            target, secure, options=arguments, interceptors=interceptors
        )
    return channel if give is None else TokenChannel(channel, give)


async def search_all(
    stub: ProductSearchAsyncStub,
    request: SearchImagesRequest,
    *,
    timeout: float | None = None,
    metadata: _Metadata | None = None,
) -> AsyncIterator[SearchResult]:
    """Yield the results of all pages from ``request`` on; see ``productsearch.v1.search_all``."""
    page = SearchImagesRequest()
    page.CopyFrom(request)
    while True:
        response = await stub.SearchImages(page, timeout=timeout, metadata=metadata)
        for result in response.results:
            yield result
        if not turn(page, response):
            return


async def batch_delete(
    stub: ProductSearchAsyncStub,
    request: BatchDeleteImagesRequest,
    *,
    timeout: float | None = None,
    metadata: _Metadata | None = None,
) -> BatchDeleteImagesResponse:
    """Delete the images of any number of signatures; see ``productsearch.v1.batch_delete``."""
    whole = BatchDeleteImagesResponse()
    for part in parts_of(request):
        try:
            response = await stub.BatchDeleteImages(part, timeout=timeout, metadata=metadata)
        except grpc.RpcError as error:
            if not whole.results:
                raise
            add_failed(whole, request, error)
            break
        add_results(whole, response)
    return whole


class _Sender:
    """Sends settings, then items while there are free places; does not read results."""

    def __init__(
        self,
        items: AsyncIterable[BulkAddImagesRequest.Item] | Iterable[BulkAddImagesRequest.Item],
        settings: BulkAddImagesRequest.Settings | None,
        unanswered_max: int,
    ) -> None:
        self._items = aiter(items if isinstance(items, AsyncIterable) else _asynchronous(items))
        self._settings = settings
        self._places = asyncio.Semaphore(unanswered_max)
        self._over = False
        self._unanswered = Unanswered()
        self.refused = Refused()
        self._sending: asyncio.Task[None] | None = None
        self.failure: Exception | None = None
        """What the caller's iterable raised."""

    def start(self, call: _Call) -> None:
        """Begin to send."""
        call.add_done_callback(lambda _: self.stop())
        self._sending = asyncio.create_task(self._send(call), name="bulk-send")

    async def _send(self, call: _Call) -> None:
        # The call has ended: reading the results raises the reason.
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
            if self._settings is not None:
                await call.write(BulkAddImagesRequest(settings=self._settings))
            while (request := await self._next()) is not None:
                await call.write(request)
            await call.done_writing()

    async def _next(self) -> BulkAddImagesRequest | None:
        """Return the next item's message; None after the last one."""
        await self._places.acquire()
        if self._over:
            return None
        try:
            while self.refused.refuses(item := await anext(self._items)):
                pass
            return self._unanswered.add(item)
        except StopAsyncIteration:
            return None
        except Exception as failure:  # noqa: BLE001 - the caller's own, raised to the caller
            # The stream is closed in order: what was sent is answered, then this is raised.
            self.failure = failure
            return None

    def answered(self, key: str) -> None:
        """Make room for another item."""
        if self._unanswered.remove(key):
            self._places.release()

    def stop(self) -> None:
        """Take no further item."""
        self._over = True
        self._places.release()

    async def left(self) -> list[BulkAddImagesRequest.Item]:
        """Take no further item and return the unanswered ones.

        An item that the iterable is just about to give is waited for: else it would be lost.
        """
        self.stop()
        if self._sending is not None:
            await asyncio.wait([self._sending])
        return self._unanswered.items()


class BulkAdd(AsyncIterator[BulkAddImagesResponse.ItemResult]):
    """Results in the order of completion; see ``bulk_add``."""

    def __init__(self, call: _Call, sender: _Sender) -> None:
        self.summary: BulkAddImagesResponse.Summary | None = None
        """The service's counts, after the last result."""
        self._call = call
        # Not read(): after a failed write it does not return the results that have arrived.
        self._responses = aiter(call)
        self._sender = sender
        self._closed = False
        self._end: Exception | None = None
        self._ended = first_ending(call)
        sender.start(call)

    async def __anext__(self) -> BulkAddImagesResponse.ItemResult:
        while self._end is None:
            if (refused := self._sender.refused.next()) is not None:
                return refused
            response = None
            try:
                response = await anext(self._responses, None)
            except grpc.RpcError as error:
                self._end = await self._interrupted()
                self._end.__cause__ = error
                break
            except asyncio.CancelledError:
                if not self._closed:
                    raise
            if response is None:
                self._end = await self._interrupted()
            elif response.HasField("result"):
                self._sender.answered(response.result.key)
                return response.result
            else:
                self._end = await self._ending(response.summary)
        # Items may have been refused since: they are in no count of the unanswered.
        if (refused := self._sender.refused.next()) is not None:
            return refused
        raise self._end

    async def _ending(self, summary: BulkAddImagesResponse.Summary) -> Exception:
        """Return what ends the iteration after the service's summary."""
        if unanswered := await self._sender.left():
            return BulkInterrupted(unanswered, None)
        self.summary = self._sender.refused.add_to(summary)
        with contextlib.suppress(grpc.RpcError):
            await anext(self._responses, None)  # the status: else the call ends as cancelled
        return self._sender.failure or StopAsyncIteration()

    async def _interrupted(self) -> BulkInterrupted:
        ended = await true_ending(self._call, self._ended)
        failed = ended.code() is not grpc.StatusCode.OK
        return BulkInterrupted(await self._sender.left(), ended if failed else None)

    def close(self) -> None:
        """Cancel the stream if it is not over. Items without a result may have been stored."""
        self._closed = True
        self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # The sender's task refers to the call, so gRPC would not cancel it when this is dropped.
        self._call.cancel()


def bulk_add(
    stub: ProductSearchAsyncStub,
    items: AsyncIterable[BulkAddImagesRequest.Item] | Iterable[BulkAddImagesRequest.Item],
    *,
    settings: BulkAddImagesRequest.Settings | None = None,
    unanswered_max: int = UNANSWERED_MAX,
    timeout: float | None = None,
    metadata: _Metadata | None = None,
) -> BulkAdd:
    """Store the images of ``items`` and return an async iterator over their results.

    See ``productsearch.v1.bulk_add``; ``items`` can also be asynchronous. It is read in the event
    loop that runs when this is called.
    """
    if unanswered_max < 1:
        raise ValueError(f"unanswered_max is {unanswered_max}; use 1 or more")
    sender = _Sender(items, settings, unanswered_max)
    return BulkAdd(stub.BulkAddImages(timeout=timeout, metadata=metadata), sender)


async def _asynchronous(
    items: Iterable[BulkAddImagesRequest.Item],
) -> AsyncIterator[BulkAddImagesRequest.Item]:
    for item in items:
        yield item
