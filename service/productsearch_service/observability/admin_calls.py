"""Keeps threads of the gRPC admin port free for calls that ask something.

A thread is held by a call whose request has not come, or whose answer is not taken. Where too many
are held so, the oldest call ends of the connection that has the most. A probe has a connection of
its own, and its request comes with its headers: where each connection has one call, each has a
moment. The more calls wait for a thread, the shorter that is.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, cast

import grpc

from productsearch_service import limits

Handle = Callable[..., Any]

_END: Final = object()


class AdminThreads(ThreadPoolExecutor):
    """Threads that know how many calls wait for one."""

    def __init__(self, count: int, name: str) -> None:
        super().__init__(count, thread_name_prefix=name)
        self.count = count
        self.queued = 0
        self._counting = threading.Lock()

    def submit(self, work: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        """Have work done as soon as a thread is free."""

        def begun() -> Any:
            with self._counting:
                self.queued -= 1
            return work(*given, **named)

        with self._counting:
            self.queued += 1
        return super().submit(begun)


class HeldCalls:
    """Calls that hold threads of one pool, the oldest first; all but one thread. Thread-safe."""

    def __init__(self, threads: AdminThreads, patience_s: float) -> None:
        """``patience_s``: what each call has where each connection has one."""
        self._threads = threads
        self._patience_s = patience_s
        self._held: dict[object, tuple[Any, float]] = {}
        self._left = threading.Condition()

    def __len__(self) -> int:
        return len(self._held)

    @contextmanager
    def hold(self, context: Any) -> Iterator[None]:
        """Note that a call holds its thread; end others while too many do."""
        call = object()
        while (one_too_many := self._enter(call, context)) is not None:
            one_too_many.cancel()
        try:
            yield
        finally:
            with self._left:
                self._held.pop(call, None)
                self._left.notify_all()

    def _enter(self, call: object, context: Any) -> Any:
        """Note a call as soon as there is room; return one that has to end before, if any."""
        with self._left:
            while not self._is_room():
                oldest, due_s = self._oldest_of_most()
                wait_s = due_s - time.monotonic()
                if wait_s <= 0:
                    return self._held.pop(oldest)[0]
                self._left.wait(wait_s)
            self._held[call] = (context, time.monotonic())
        return None

    def _is_room(self) -> bool:
        return len(self._held) < self._threads.count - 1

    def _oldest_of_most(self) -> tuple[object, float]:
        """Return the oldest call of the connection with the most, and when it may be ended."""
        peers = Counter(context.peer() for context, _ in self._held.values())
        ((most, count),) = peers.most_common(1)
        oldest = next(call for call, (context, _) in self._held.items() if context.peer() == most)
        return oldest, self._held[oldest][1] + (self._moment_s() if count == 1 else 0.0)

    def _moment_s(self) -> float:
        """Return what each call has: so much that all that wait have a thread within a second."""
        each_s = limits.ADMIN_QUEUE_S * self._threads.count / max(1, self._threads.queued)
        return min(self._patience_s, each_s)


class AdminCalls(grpc.ServerInterceptor):
    """Notes which calls of one server hold threads of ``threads``, and which of ``watching``."""

    def __init__(self, threads: AdminThreads, watching: AdminThreads) -> None:
        self.asking = HeldCalls(threads, limits.ADMIN_REQUEST_S)
        self.watching = HeldCalls(watching, 0.0)

    def intercept_service(self, continuation: Handle, handler_call_details: Any) -> Any:
        """Return the handler with a request that is waited for here, on the wire the same."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        decode, encode = handler.request_deserializer, handler.response_serializer
        if handler.unary_unary is not None:
            handle = self._of_one(handler.unary_unary)
            return grpc.stream_unary_rpc_method_handler(cast("Any", handle), decode, encode)
        if handler.unary_stream is not None:
            handle = self._of_watcher(handler.unary_stream)
            return grpc.stream_stream_rpc_method_handler(cast("Any", handle), decode, encode)
        handle = self._of_many(handler.stream_stream)
        return grpc.stream_stream_rpc_method_handler(cast("Any", handle), decode, encode)

    def _of_one(self, handle: Handle) -> Handle:
        def wrapped(requests: Iterator[Any], context: Any) -> Any:
            with self.asking.hold(context):
                request = next(requests, _END)
            return handle(_some(request, context), context)

        return wrapped

    def _of_watcher(self, handle: Handle) -> Handle:
        """Return it with a thread of its own kind, which it holds from beginning to end."""

        def wrapped(requests: Iterator[Any], context: Any) -> Any:
            with self.watching.hold(context):
                yield from handle(_some(next(requests, _END), context), context)

        wrapped.experimental_thread_pool = handle.experimental_thread_pool  # type: ignore[attr-defined]
        return wrapped

    def _of_many(self, handle: Handle) -> Handle:
        def wrapped(requests: Iterator[Any], context: Any) -> Any:
            def asked() -> Any:
                with self.asking.hold(context):
                    return next(requests, _END)

            for answer in handle(iter(asked, _END), context):
                with self.asking.hold(context):  # until it was sent
                    yield answer

        return wrapped


def _some(request: Any, context: Any) -> Any:
    """Return a request; end a call that has none."""
    if request is _END:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no request came")
    return request
