"""Health and reflection on the service's own port: whoever connects may call them.

So a request has to come at once, and where too many calls are open, or are still being received,
one ends: of the address that has the most, the oldest. A probe takes milliseconds and is never the
oldest, however many silent calls there are. A message may have RECEIVE_BYTES_MAX until it is read,
so few are received at a time.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import grpc
from google.protobuf.message import DecodeError

from productsearch_service import limits
from productsearch_service.call_context import end_unread
from productsearch_service.turns import message

Handle = Callable[..., Any]

_ENDED: Final = "no request came, or newer calls of health and reflection took this one's place"


class Bystanders:
    """The open calls of the services that ask nobody who calls."""

    def __init__(
        self,
        calls_max: int = limits.BYSTANDERS_MAX,
        receiving_max: int = limits.BYSTANDERS_RECEIVING_MAX,
    ) -> None:
        self._calls_max = calls_max
        self._receiving_max = receiving_max
        # Each call with its address, the oldest first, both.
        self._open: dict[asyncio.Timeout, str] = {}
        self._receiving: dict[asyncio.Timeout, str] = {}

    @property
    def in_flight(self) -> int:
        """Open calls."""
        return len(self._open)

    def end_all(self) -> None:
        """End all open calls."""
        while self._open:
            self._end(next(iter(self._open)))

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
                request = await self._request(decode, context, timer)
                timer.reschedule(None)
                if request is None:
                    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no request came")
                return await _answered(handle(request, context), context)

        return wrapped

    def _of_requests(self, handle: Handle, decode: Handle | None) -> Handle:
        async def wrapped(_: object, context: Any) -> None:
            async with self._bounded(context) as timer:
                await _answered(handle(self._requests(decode, context, timer), context), context)

        return wrapped

    async def _requests(
        self, decode: Handle | None, context: Any, timer: asyncio.Timeout
    ) -> AsyncIterator[Any]:
        while (request := await self._request(decode, context, timer)) is not None:
            yield request

    async def _request(
        self, decode: Handle | None, context: Any, timer: asyncio.Timeout
    ) -> Any | None:
        """Return the next request of a call; None: there is none. End a call of anything else."""
        self._receiving[timer] = _address(context)
        if len(self._receiving) > self._receiving_max:
            self._end(_oldest_of_most(self._receiving))
        try:
            content = await message(context.read())
        finally:
            self._receiving.pop(timer, None)
        if content is grpc.aio.EOF:
            return None
        if len(content) > limits.BYSTANDER_BYTES_MAX:  # names asked for are kept, and sent back
            del content  # an error keeps what its frames hold for a while
            return await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request is too large")
        try:
            return decode(content) if decode is not None else content
        except DecodeError:
            return await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a request")

    @asynccontextmanager
    async def _bounded(self, context: Any) -> AsyncIterator[asyncio.Timeout]:
        timer, is_late = asyncio.timeout(None), False
        try:
            async with timer:
                self._open[timer] = _address(context)
                if len(self._open) > self._calls_max:
                    self._end(_oldest_of_most(self._open))
                yield timer
        except TimeoutError:
            is_late = True
        finally:
            self._open.pop(timer, None)
            end_unread(limits.BYSTANDER_TIMEOUT_S)
        if is_late:
            await context.abort(grpc.StatusCode.UNAVAILABLE, _ENDED)

    def _end(self, call: asyncio.Timeout) -> None:
        self._open.pop(call, None)
        self._receiving.pop(call, None)
        if not call.expired():  # its task has not run since
            call.reschedule(asyncio.get_running_loop().time())


def _address(context: Any) -> str:
    """Return where a call comes from, without its port."""
    return str(context.peer()).rpartition(":")[0]


def _oldest_of_most(calls: dict[asyncio.Timeout, str]) -> asyncio.Timeout:
    ((most, _),) = Counter(calls.values()).most_common(1)
    return next(call for call, address in calls.items() if address == most)


async def _answered(answering: Any, context: Any) -> Any:
    """Return the answer of a unary handler; write the answers of one that yields them."""
    if not inspect.isasyncgen(answering):
        return await answering
    async for answer in answering:
        await context.write(answer)
    return None
