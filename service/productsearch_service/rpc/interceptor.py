"""What surrounds each RPC: error boundary, access log, identity, admission, policy, deadline.

This is for the methods of ProductSearch; health and reflection are only bounded (bystanders). A
handler gets a CallContext in place of gRPC's own context. Metrics and access line are written
together, in ``_Call.ended``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias, cast

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_status import rpc_status

from productsearch_service import limits
from productsearch_service.call_context import (
    NOBODY,
    CallContext,
    Caller,
    Trail,
    end_unread,
    this_call,
)
from productsearch_service.counters import RpcCounters
from productsearch_service.errors import (
    FieldInvalid,
    ServerDraining,
    ServerFault,
    ServiceError,
    UpstreamUnavailable,
    blame_of,
    quoted,
)
from productsearch_service.identity.identify import CurrentPolicy, Identification
from productsearch_service.library.library import Libraries
from productsearch_service.redaction import redact_name
from productsearch_service.rpc import wire_format
from productsearch_service.rpc.access_record import AccessLog, Ending
from productsearch_service.rpc.admission import Admission
from productsearch_service.rpc.refusals import wrong_request
from productsearch_service.rpc.status import status_of
from productsearch_service.rpc.streams import Stream
from productsearch_service.traces import Trace, Tracer

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Decoder = Callable[[bytes], Any]
Encoder = Callable[[Any], bytes]

SERVICE: Final = "/productsearch.v1.ProductSearch/"

# gRPC clients repeat UNAVAILABLE by themselves. What was tried three times here is not tried
# nine times: a negative push-back tells the client's retry policy to leave it.
_NO_RETRY: Final = ("grpc-retry-pushback-ms", "-1")

# Nothing of the call was begun: a proxy may send it to another replica, an add too
# (deploy/envoy/envoy.yaml, `retriable_headers`).
_NOT_BEGUN: Final = ("productsearch-not-begun", "draining")

_STORES_IMAGES: Final = "AddImage"
_DECODERS: Final[dict[str, Decoder]] = {"BatchDeleteImages": wire_format.batch_delete}
_ENCODERS: Final[dict[str, Encoder]] = {"BatchDeleteImages": bytes}
_OK: Final = Ending("OK")
_LEFT: Final = Ending("CANCELLED", blame="caller")
_CUT_OFF: Final = Ending("UNAVAILABLE", ServerDraining.reason, ServerDraining.blame)
"""By the end of the replica, in gRPC's own words."""

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Interceptor(grpc.aio.ServerInterceptor):
    """The one interceptor, of all handlers."""

    libraries: Libraries
    admission: Admission
    identification: Identification
    policy: CurrentPolicy | None
    counters: RpcCounters
    receive_timeout_s: float = limits.RECEIVE_TIMEOUT_S
    access_log: AccessLog = field(default_factory=AccessLog)
    tracer: Tracer | None = None
    _wrapped: dict[str, Handler] = field(default_factory=dict)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the handler, wrapped if it is one of ProductSearch's."""
        path = handler_call_details.method
        if path in self._wrapped:
            return self._wrapped[path]
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        if path.startswith(SERVICE):
            wrapped = self._wrap(path.removeprefix(SERVICE), handler)
        else:
            wrapped = self.admission.bystanders.wrap(handler)
        self._wrapped[path] = wrapped
        return wrapped

    def _wrap(self, method: str, handler: Any) -> Handler:
        decode = _DECODERS.get(method) or partial(
            _decoded_if_few_fields, method, handler.request_deserializer
        )
        encode = _ENCODERS.get(method, handler.response_serializer)
        if handler.stream_stream is not None:
            handle = self._stream(method, handler.stream_stream, decode, encode)
            return grpc.stream_stream_rpc_method_handler(cast("Any", handle), None, None)
        # On the wire a unary call is a stream of one message. As a stream its handler begins with
        # the headers: who calls is known before anything is received.
        # What it returns is encoded already: its bytes are counted.
        handle_unary = self._unary(method, handler.unary_unary, decode, encode)
        return grpc.stream_unary_rpc_method_handler(cast("Any", handle_unary), None, None)

    def _unary(
        self,
        method: str,
        handle: Callable[..., Awaitable[Message | bytes]],
        decode: Decoder,
        encode: Encoder,
    ) -> Callable[..., Awaitable[bytes]]:
        async def answered(call: _Call, grpc_context: Any) -> bytes:
            context = self._begin(call, grpc_context)
            context.deadline.require()
            content = await self.admission.messages.receive(
                context, grpc_context, self.receive_timeout_s
            )
            if context.trail.trace is not None:
                context.trail.trace.part("receive", context.trail.trace.began_s)
            context.trail.bytes_in = len(content)
            self._hold_place(call.caller, len(content))
            due = partial(self.admission.pace.next_step, call.caller.name, len(content))
            await due()
            request = _decoded(decode, content)
            del content
            self._allow(call, request.library)
            await due()
            context.deadline.require()
            work = handle(request, context)
            del request  # it holds the image, which is freed while the upstream works
            answer = encode(await context.bounded(work, adds=method == _STORES_IMAGES))
            context.trail.bytes_out = len(answer)
            return answer

        # gRPC's own error lives as long as its call, and longer, with the frame that it passes:
        # that one knows no message.
        async def wrapped(_: AsyncIterator[bytes], grpc_context: Any) -> bytes:
            call = self._call(method, grpc_context)
            try:
                answer = await answered(call, grpc_context)
            except asyncio.CancelledError:
                call.ended(_CUT_OFF if self.admission.is_cut_off() else _LEFT)
                raise
            except Exception as error:  # noqa: BLE001 - the boundary: nothing gets past it
                ending = call.failed(error)
            else:
                call.ended(_OK)
                return answer
            finally:
                end_unread(self.receive_timeout_s)
            await grpc_context.abort(*ending)
            raise AssertionError("gRPC's abort raises")

        return wrapped

    def _hold_place(self, caller: Caller, size_bytes: int) -> None:
        """Hold a place until the answer was taken; raise ServerOverloaded."""
        places = self.admission.unary
        places.take(caller, size_bytes)
        this_call().add_done_callback(lambda _: places.give(caller, size_bytes))

    def _stream(
        self,
        method: str,
        handle: Callable[..., AsyncGenerator[Message, None]],
        decode: Decoder,
        encode: Encoder,
    ) -> Callable[..., AsyncIterator[bytes]]:
        async def wrapped(_: AsyncIterator[bytes], grpc_context: Any) -> AsyncIterator[bytes]:
            call = self._call(method, grpc_context)
            stream = None
            try:
                context = self._begin(call, grpc_context)
                stream = self.admission.streams.open(call.caller)
                context.ending = stream.ending
                responses = handle(self._allowed(call, grpc_context, stream, decode), context)
                async with aclosing(responses):
                    async for response in responses:
                        stream.answers()
                        content = encode(response)
                        context.trail.bytes_out += len(content)
                        yield content
                        stream.answered()
            except (asyncio.CancelledError, GeneratorExit):
                call.ended(_CUT_OFF if self.admission.is_cut_off() else _LEFT)
                raise
            except Exception as error:  # noqa: BLE001 - the boundary: nothing gets past it
                ending = call.failed(error)
                if isinstance(error, ServerDraining):
                    await _until_read()
            else:
                call.ended(_OK)
                end_unread(self.receive_timeout_s)
                return
            finally:
                if stream is not None:
                    stream.answers()  # with its ending
            end_unread(self.receive_timeout_s)
            await grpc_context.abort(*ending)

        return wrapped

    def _call(self, method: str, grpc_context: Any) -> _Call:
        call = _Call(method, self.counters, self.access_log)
        if self.tracer is not None:
            call.headers = grpc_context.invocation_metadata()
            trace = self.tracer.begin(call.headers)
            call.trail.trace_id = trace.trace_id
            if isinstance(trace, Trace):
                call.trail.trace = trace
        return call

    def _begin(self, call: _Call, grpc_context: Any) -> CallContext:
        self.admission.check()
        call.caller = self.identification.caller(grpc_context, call.headers)
        call.headers = None
        if self.policy is not None:
            self.policy.value.check(call.caller.name, call.method)
        return CallContext.begin(call.caller, grpc_context.time_remaining(), call.trail)

    def _allow(self, call: _Call, library: str) -> None:
        name = self.libraries.name(library)
        call.library = self.libraries.label(name)
        call.library_told = name if call.library == name else quoted(name)
        if self.policy is not None:
            self.policy.value.check(call.caller.name, call.method, name)
        self.libraries.require(library, lambda each: self._may_use(call, each))

    def _may_use(self, call: _Call, library: str) -> bool:
        policy = self.policy.value if self.policy is not None else None
        return policy is None or policy.explain(call.caller.name, call.method, library).allowed

    async def _allowed(
        self, call: _Call, grpc_context: Any, stream: Stream, decode: Decoder
    ) -> AsyncIterator[tuple[Any, int]]:
        """Yield a stream's messages and their bytes; check the first one's library before that.

        gRPC's own iterator would hold each message, and its image, until the next one comes. A
        message of 5.8 MB that is asked for its size is encoded for that.
        """
        pace, caller = self.admission.pace, call.caller.name
        while (content := await pace.read(caller, grpc_context)) is not grpc.aio.EOF:
            size_bytes = len(content)
            await pace.next_step(caller, size_bytes)
            call.trail.bytes_in += size_bytes
            request = _decoded(decode, content)
            del content
            stream.came(is_item=request.HasField("item"))
            if not call.library:
                self._allow(call, request.settings.library)
            yield request, size_bytes
            del request


async def _until_read() -> None:
    """Let a caller read the last results of its stream before the stream ends.

    gRPC closes a stopping server's connection with its last call. A caller that still sends, for
    the results that it reads, then meets a reset, and its transport may throw away what it has not
    read: results, and the reason.
    """
    await asyncio.sleep(limits.DRAIN_READ_S)


def _decoded_if_few_fields(method: str, decode: Decoder, content: bytes) -> Any:
    if len(content) > limits.FIELDS_UNCOUNTED_BYTES:
        wire_format.require_few_fields(method, content)
    return decode(content)


def _decoded(decode: Decoder, content: bytes) -> Any:
    """Return the request; raise FieldInvalid if ``content`` is none."""
    try:
        return decode(content)
    except DecodeError:
        raise _no_message() from None


def _no_message() -> FieldInvalid:
    return wrong_request("not a message of this method; send what its generated client makes")


class _Call:
    """One RPC as the access log and the metrics tell of it."""

    def __init__(self, method: str, counters: RpcCounters, log: AccessLog) -> None:
        self.method = method
        self.caller: Caller = NOBODY
        self.library = ""
        """As metrics call it; empty until the library's name was read."""
        self.library_told = ""
        self.trail = Trail()
        self.headers: Sequence[tuple[str, str | bytes]] | None = None
        """Its metadata, if they were read before its caller is known: reading them takes time."""
        self._counters = counters
        self._log = log
        self._began_s = time.monotonic()

    def failed(self, error: Exception) -> tuple[grpc.StatusCode, str, tuple[Any, ...]]:
        """Count the RPC and return how it ends: with what the caller may know of ``error``."""
        if not isinstance(error, ServiceError):
            # grpc would send the text of the exception to the caller.
            _log.error("%s failed in an unforeseen way", self.method, exc_info=error)
            error = ServerFault("the service failed; its log says why")
        status = rpc_status.to_status(status_of(error))
        words = error.upstream
        told = (words.code, words.log_id) if words is not None else ()
        self.ended(Ending(status.code.name, error.reason, error.blame, *told))
        trailers = tuple(status.trailing_metadata or ())
        if isinstance(error, UpstreamUnavailable):
            trailers += (_NO_RETRY,)
        if isinstance(error, ServerDraining):
            trailers += (_NOT_BEGUN,)
        return status.code, status.details or "", trailers

    def ended(self, ending: Ending) -> None:
        """Have the RPC counted, logged and its spans made, with those of others."""
        self._counters.batch.add(self._told, ending, time.monotonic(), time.time())

    def _told(self, ending: Ending, ended_s: float, at_s: float) -> None:
        """Tell of the RPC, which ended then by the monotonic clock and by the wall clock."""
        seconds = ended_s - self._began_s
        method, trail = self.method, self.trail
        for (outcome, item_reason), count in tuple((trail.items or {}).items()):
            self._counters.item(method, outcome, item_reason, count)
        if ending is _OK and (alike := trail.failed_alike()):
            # On the wire the stream or batch is OK, and nothing of it was done.
            ending = Ending("OK", alike, blame_of(alike))
        reason = "" if ending.reason == "-" else ending.reason
        self._counters.ended(
            method, ending.code, reason, self.caller.label, self.library, seconds=seconds
        )
        if reason:
            self._counters.failed(
                method, self.library, reason, ending.blame, kept_away=trail.kept_away
            )
        self._log.write(method, self.library_told, self.caller.name, ending, trail, seconds, at_s)
        # A stranger's word does not make spans: its calls would push those of others out.
        if trail.trace is not None and self.caller is not NOBODY:
            trail.trace.end(method, ending.code, self._attributes(ending), ended_s)

    def _attributes(self, ending: Ending) -> dict[str, str | int]:
        return {
            "caller": redact_name(self.caller.name),
            "library": redact_name(self.library_told),
            "reason": ending.reason,
            "blame": ending.blame,
            "attempts": self.trail.attempts,
            "log_id": str(ending.log_id or self.trail.log_id),  # it may have 64 bits
            "bytes_in": self.trail.bytes_in,
        }
