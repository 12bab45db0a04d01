"""What surrounds each RPC: error boundary, access log, identity, admission, policy.

From the outside in, in this order. Each is a function that gets the next one to call; only
this room knows how grpc wraps handlers. Health and reflection pass through untouched. Knows
nothing of the upstream. Each RPC is counted where its access line is written.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

import grpc
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from productsearch_service import preparing
from productsearch_service.access.callers import Caller, current_caller
from productsearch_service.errors import (
    FieldInvalid,
    ServerDraining,
    ServerFault,
    ServiceError,
    UpstreamUnavailable,
    Violation,
    quoted,
)
from productsearch_service.status import status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message

    from productsearch_service.access.identity import Identification
    from productsearch_service.access.policy import Policy
    from productsearch_service.admission import Admission
    from productsearch_service.draining import Drain
    from productsearch_service.libraries import Libraries
    from productsearch_service.operations.rpcs import RpcCounts

SERVICE: Final = "/productsearch.v1.ProductSearch/"

# gRPC clients repeat UNAVAILABLE by themselves. What was tried three times here is not tried
# nine times: a negative push-back tells the client's retry policy to leave it.
_NO_RETRY: Final = ("grpc-retry-pushback-ms", "-1")

# Nothing of the call was begun: a proxy may send it to another replica, an add too
# (deploy/envoy/envoy.yaml, `retriable_headers`).
_NOT_BEGUN: Final = ("productsearch-not-begun", "draining")

_NOBODY: Final = Caller("")

_log = logging.getLogger(__name__)
_access = logging.getLogger("productsearch.access")


class Surroundings(grpc.ServerInterceptor):
    """The one interceptor: it wraps the handlers of ProductSearch and no others."""

    def __init__(
        self,
        libraries: Libraries,
        drain: Drain,
        calls: Admission,
        streams: Admission,
        identification: Identification,
        policy: Callable[[], Policy | None],
        counts: RpcCounts,
    ) -> None:
        self._libraries = libraries
        self._drain = drain
        self._calls = calls
        self._streams = streams
        self._identification = identification
        self._policy = policy
        self._counts = counts

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the handler, wrapped if it is one of ProductSearch's."""
        handler = continuation(handler_call_details)
        path = handler_call_details.method
        if handler is None or not path.startswith(SERVICE):
            return handler
        method = path.removeprefix(SERVICE)
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(method, handler.stream_stream),
                handler.request_deserializer,
                handler.response_serializer,
            )
        if handler.unary_unary is None or handler.request_deserializer is None:
            raise AssertionError(f"{method} is of a kind that nothing surrounds")
        return grpc.unary_unary_rpc_method_handler(
            self._unary(method, handler.unary_unary, handler.request_deserializer),
            _Parcel,
            handler.response_serializer,
        )

    def _unary(
        self,
        method: str,
        handle: Callable[..., Message],
        deserialize: Callable[[bytes], Message],
    ) -> Callable[..., Message]:
        def surrounded(parcel: _Parcel, context: grpc.ServicerContext) -> Message:
            call = _Call(method, self._counts)
            try:
                self._drain.check()
                self._identify(call, context)
                size = parcel.size_bytes
                with self._calls.admitted(call.caller, size), preparing.alone(size):
                    parcel.open(deserialize)
                    self._allow(call, parcel.library)
                    response = handle(parcel.take(), context)
            except Exception as error:  # noqa: BLE001 - the boundary: nothing gets past it
                call.fail(error, context)
            call.end("OK")
            return response

        return surrounded

    def _stream(
        self, method: str, handle: Callable[..., Iterator[Message]]
    ) -> Callable[..., Iterator[Message]]:
        def surrounded(
            requests: Iterator[Message], context: grpc.ServicerContext
        ) -> Iterator[Message]:
            call = _Call(method, self._counts)
            try:
                self._drain.check()
                self._identify(call, context)
                with self._streams.admitted(call.caller, 0):
                    yield from handle(self._allowed(call, requests), context)
            except GeneratorExit:
                call.end("CANCELLED")
                raise
            except Exception as error:  # noqa: BLE001 - the boundary: nothing gets past it
                call.fail(error, context)
            call.end("OK")

        return surrounded

    def _identify(self, call: _Call, context: grpc.ServicerContext) -> None:
        call.caller = self._identification.caller(context)
        current_caller.set(call.caller)

    def _allow(self, call: _Call, library: str) -> None:
        name = self._libraries.name(library)
        call.library = self._libraries.label(name)
        call.library_told = name if call.library == name else quoted(name)
        policy = self._policy()
        if policy is not None:
            policy.check(call.caller.name, call.method, name)

    def _allowed(self, call: _Call, requests: Iterator[Any]) -> Iterator[Any]:
        """Check the library of a stream's first message before anyone reads it."""
        for request in requests:
            if not call.library:
                self._allow(call, request.settings.library)
            yield request


class _Parcel:
    """A request that is handed on, not kept: grpc and its callers here hold the parcel alone.

    A picture in flight then costs the memory of its form, not of its request as well. It is
    opened in the call's own thread: grpc has one for the events of all calls, and would keep them
    waiting for each large message.
    """

    def __init__(self, content: bytes) -> None:
        self.size_bytes = len(content)
        self._content = content
        self._request: Any = None

    def open(self, deserialize: Callable[[bytes], Any]) -> None:
        """Decode the request; raise FieldInvalid if it is none."""
        content, self._content = self._content, b""
        try:
            self._request = deserialize(content)
        except DecodeError:
            described = "no message of this method; send what its generated client makes"
            raise FieldInvalid(
                f"request: {described}", violations=(Violation("request", described),)
            ) from None

    @property
    def library(self) -> str:
        """The library that the request names."""
        return str(self._request.library)

    def take(self) -> Any:
        """Return the request, once."""
        request, self._request = self._request, None
        return request


class _Ended(grpc.Status):
    """How an RPC ends: code, message and trailers."""

    def __init__(self, error: ServiceError) -> None:
        status = rpc_status.to_status(status_of(error))
        self.code = status.code
        self.details = status.details
        self.trailing_metadata = tuple(status.trailing_metadata or ())
        if isinstance(error, UpstreamUnavailable):
            self.trailing_metadata += (_NO_RETRY,)
        if isinstance(error, ServerDraining):
            self.trailing_metadata += (_NOT_BEGUN,)


class _Call:
    """One RPC as the access log and the metrics tell of it."""

    def __init__(self, method: str, counts: RpcCounts) -> None:
        self.method = method
        self.caller = _NOBODY
        self.library = ""
        """As metrics call it; empty until the request was let in."""
        self.library_told = ""
        self._counts = counts
        self._began_s = time.monotonic()

    def fail(self, error: Exception, context: grpc.ServicerContext) -> NoReturn:
        """End the RPC with what the caller may know of ``error``."""
        if not isinstance(error, ServiceError):
            # grpc would send the text of the exception to the caller.
            _log.error("%s failed in an unforeseen way", self.method, exc_info=error)
            error = ServerFault("the service failed; its log says why")
        ended = _Ended(error)
        self.end(ended.code.name, error)
        context.abort_with_status(ended)

    def end(self, code: str, error: ServiceError | None = None) -> None:
        """Count the RPC and write its access line."""
        seconds = time.monotonic() - self._began_s
        reason = error.reason if error is not None else ""
        self._counts.add(
            self.method, code, reason, self.caller.label, self.library, seconds=seconds
        )
        words = error.upstream if error is not None else None
        _access.info(
            "rpc=%s library=%s caller=%s code=%s reason=%s upstream_code=%d log_id=%d ms=%.1f",
            self.method,
            self.library_told,
            self.caller.name,
            code,
            reason or "-",
            words.code if words else 0,
            words.log_id if words else 0,
            seconds * 1000,
        )
