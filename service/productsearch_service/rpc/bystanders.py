"""Health and reflection on the service's own port: whoever connects may call them.

So a request has to come at once, and where too many calls are open the oldest one ends. A probe
takes milliseconds and is never the oldest, however many silent calls there are.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import grpc
from google.protobuf.message import DecodeError

from productsearch_service import limits
from productsearch_service.call_context import end_unread

Handle = Callable[..., Any]

_ENDED: Final = "no request came, or newer calls of health and reflection took this one's place"


class Bystanders:
    """The open calls of the services that ask nobody who calls."""

    def __init__(self, calls_max: int = limits.BYSTANDERS_MAX) -> None:
        self._calls_max = calls_max
        self._open: dict[asyncio.Timeout, None] = {}  # the oldest first

    @property
    def in_flight(self) -> int:
        """Open calls."""
        return len(self._open)

    def end_all(self) -> None:
        """End all open calls."""
        while self._open:
            self._end_oldest()

    def wrap(self, handler: Any) -> Any:
        """Return ``handler``, bounded; a unary request is on the wire a stream of one message."""
        decode, encode = handler.request_deserializer, handler.response_serializer
        if handler.unary_unary is not None:
            handle = self._of_one_request(handler.unary_unary, decode)
            return grpc.stream_unary_rpc_method_handler(cast("Any", handle), None, encode)
        if handler.unary_stream is not None:
            handle = self._of_one_request(handler.unary_stream, decode)
            return grpc.stream_stream_rpc_method_handler(cast("Any", handle), None, encode)
        handle = self._of_requests(handler.stream_stream, decode)
        return grpc.stream_stream_rpc_method_handler(cast("Any", handle), None, encode)

    def _of_one_request(self, handle: Handle, decode: Handle | None) -> Handle:
        async def wrapped(_: object, context: Any) -> Any:
            async with self._bounded(context) as timer:
                timer.reschedule(asyncio.get_running_loop().time() + limits.BYSTANDER_TIMEOUT_S)
                content = await context.read()
                timer.reschedule(None)
                if content is grpc.aio.EOF:
                    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no request came")
                request = await _decoded(content, decode, context)
                return await _answered(handle(request, context), context)

        return wrapped

    def _of_requests(self, handle: Handle, decode: Handle | None) -> Handle:
        async def wrapped(contents: AsyncIterator[bytes], context: Any) -> None:
            async with self._bounded(context):
                requests = (await _decoded(each, decode, context) async for each in contents)
                await _answered(handle(requests, context), context)

        return wrapped

    @asynccontextmanager
    async def _bounded(self, context: Any) -> AsyncIterator[asyncio.Timeout]:
        timer, is_late = asyncio.timeout(None), False
        try:
            async with timer:
                self._open[timer] = None
                if len(self._open) > self._calls_max:
                    self._end_oldest()
                yield timer
        except TimeoutError:
            is_late = True
        finally:
            self._open.pop(timer, None)
            end_unread(limits.BYSTANDER_TIMEOUT_S)
        if is_late:
            await context.abort(grpc.StatusCode.UNAVAILABLE, _ENDED)

    def _end_oldest(self) -> None:
        oldest = next(iter(self._open))
        del self._open[oldest]
        if not oldest.expired():  # its task has not run since
            oldest.reschedule(asyncio.get_running_loop().time())


async def _decoded(content: bytes, decode: Handle | None, context: Any) -> Any:
    """Return the request; end the call if it is too large or is none."""
    if len(content) > limits.BYSTANDER_BYTES_MAX:  # names asked for are kept, and sent back
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request is too large")
    try:
        return decode(content) if decode is not None else content
    except DecodeError:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a request")


async def _answered(answering: Any, context: Any) -> Any:
    """Return the answer of a unary handler; write the answers of one that yields them."""
    if not inspect.isasyncgen(answering):
        return await answering
    async for answer in answering:
        await context.write(answer)
    return None
