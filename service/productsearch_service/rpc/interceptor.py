"""What surrounds each RPC: error boundary, access log, identity, admission, policy, deadline.

This is for the methods of ProductSearch; health and reflection are only bounded (bystanders). A
handler gets a CallContext in place of gRPC's own context. Metrics and access line are written
together once it has ended (reports).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias, cast

import grpc
from google.protobuf.message import DecodeError, Message

from productsearch_service import limits
from productsearch_service.call_context import (
    CallContext,
    end_unread,
)
from productsearch_service.errors import (
    CallerUnauthenticated,
    ServerDraining,
    ServiceError,
    quoted,
)
from productsearch_service.identity.identify import CurrentPolicy, Identification, host_of
from productsearch_service.library.library import Libraries
from productsearch_service.rpc import image_part, wire_format
from productsearch_service.rpc.admission import Admission, Place
from productsearch_service.rpc.call import CUT_OFF, LEFT, NOT_THERE, OK, Call
from productsearch_service.rpc.refusals import wrong_request
from productsearch_service.rpc.reports import Reports
from productsearch_service.rpc.streams import Stream
from productsearch_service.traces import Tracer
from productsearch_service.turns import Pace

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Decode = Callable[[bytes], Any]
Decoder = Callable[[bytes, str], Awaitable[tuple[Any, memoryview | None]]]
Encoder = Callable[[Any], bytes]

SERVICE: Final = "/productsearch.v1.ProductSearch/"

_OTHER: Final = "_OTHER"
"""What OpenTelemetry calls a method that is not there, whatever name a caller made up."""
_STORES_IMAGES: Final = "AddImage"
_DECODERS: Final[dict[str, Decode]] = {"BatchDeleteImages": wire_format.batch_delete}
_ENCODERS: Final[dict[str, Encoder]] = {"BatchDeleteImages": bytes}


@dataclass(eq=False)
class Interceptor(grpc.aio.ServerInterceptor):
    """The one interceptor, of all handlers."""

    libraries: Libraries
    admission: Admission
    identification: Identification
    policy: CurrentPolicy | None
    reports: Reports
    receive_timeout_s: float = limits.RECEIVE_TIMEOUT_S
    tracer: Tracer | None = None
    _wrapped: dict[str, Handler] = field(default_factory=dict)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the handler, wrapped if it is one of ProductSearch's."""
        path = handler_call_details.method
        if len(handler_call_details.invocation_metadata or ()) > limits.HEADERS_MAX:
            return grpc.stream_stream_rpc_method_handler(cast("Any", self._headers), None, None)
        if path in self._wrapped:
            return self._wrapped[path]
        handler = await continuation(handler_call_details)
        if handler is None:  # not kept: there are as many names as callers make up
            return grpc.stream_stream_rpc_method_handler(cast("Any", self._not_there), None, None)
        if path.startswith(SERVICE):
            wrapped = self._wrap(path.removeprefix(SERVICE), handler)
        else:
            wrapped = self.admission.bystanders.wrap(handler)
        self._wrapped[path] = wrapped
        return wrapped

    async def _headers(self, _: AsyncIterator[bytes], grpc_context: Any) -> None:
        """Refuse a call of too many headers, which are not read again to know whose it is.

        gRPC hands over whatever came: its own limit ends the call only when it is answered.
        """
        call = Call(_OTHER, self.reports.add, peer=host_of(grpc_context.peer()))
        ending = call.failed(wrong_request(f"more than {limits.HEADERS_MAX} headers; send fewer"))
        end_unread(self.receive_timeout_s)
        await grpc_context.abort(*ending)

    async def _not_there(self, _: AsyncIterator[bytes], grpc_context: Any) -> None:
        """Refuse a call of a method that nobody has, in gRPC's own words, and tell of it."""
        call = self._call(_OTHER, grpc_context)
        with suppress(ServiceError):
            call.caller = self.identification.caller(grpc_context, call.headers)
        call.ended(NOT_THERE)
        end_unread(self.receive_timeout_s)
        await grpc_context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")

    def _wrap(self, method: str, handler: Any) -> Handler:
        decoder = partial(decoded, method, handler.request_deserializer, self.admission.pace)
        encode = _ENCODERS.get(method, handler.response_serializer)
        if handler.stream_stream is not None:
            handle = self._stream(method, handler.stream_stream, decoder, encode)
            return grpc.stream_stream_rpc_method_handler(cast("Any", handle), None, None)
        # On the wire a unary call is a stream of one message. As a stream its handler begins with
        # the headers: who calls is known before anything is received.
        # What it returns is encoded already: its bytes are counted.
        handle_unary = self._unary(method, handler.unary_unary, decoder, encode)
        return grpc.stream_unary_rpc_method_handler(cast("Any", handle_unary), None, None)

    def _unary(
        self,
        method: str,
        handle: Callable[..., Awaitable[Message | bytes]],
        decoder: Decoder,
        encode: Encoder,
    ) -> Callable[..., Awaitable[bytes]]:
        async def answered(call: Call, grpc_context: Any) -> bytes:
            context = self._begin(call, grpc_context)
            context.deadline.require()
            content = await self.admission.messages.receive(
                context, grpc_context, self.receive_timeout_s
            )
            if context.trail.trace is not None:
                context.trail.trace.part("receive", context.trail.trace.began_s)
            context.trail.bytes_in = len(content)
            call.place = Place(self.admission, call.caller, len(content))
            request, context.image = await decoder(content, call.caller.name)
            del content
            self._allow(call, request.library)
            if context.image is None:  # it is taken out of the request, which copies it
                await self.admission.pace.next_step(call.caller.name, call.trail.bytes_in)
            context.deadline.require()
            work = handle(request, context)
            del request  # it holds the image, which is freed while the upstream works
            adds = self.admission.adds if method == _STORES_IMAGES else None
            answer = encode(await context.bounded(work, adds))
            call.trail.bytes_out = len(answer)
            return answer

        # gRPC's own error lives as long as its call, and longer, with the frame that it passes:
        # that one knows no message.
        async def wrapped(_: AsyncIterator[bytes], grpc_context: Any) -> bytes:
            call = self._call(method, grpc_context)
            try:
                answer = await answered(call, grpc_context)
            except asyncio.CancelledError:
                call.ended(CUT_OFF if self.admission.is_cut_off() else LEFT)
                raise
            except Exception as error:  # noqa: BLE001 - the boundary: nothing gets past it
                ending = call.failed(error)
            else:
                call.ended(OK)
                return answer
            finally:
                if call.place is not None:
                    call.place.answered(call.trail.bytes_out)
                end_unread(self.receive_timeout_s)
            await grpc_context.abort(*ending)
            raise AssertionError("gRPC's abort raises")

        return wrapped

    def _stream(
        self,
        method: str,
        handle: Callable[..., AsyncGenerator[Message, None]],
        decoder: Decoder,
        encode: Encoder,
    ) -> Callable[..., AsyncIterator[bytes]]:
        async def wrapped(_: AsyncIterator[bytes], grpc_context: Any) -> AsyncIterator[bytes]:
            call = self._call(method, grpc_context)
            stream = None
            try:
                context = self._begin(call, grpc_context)
                stream = self.admission.streams.open(call.caller)
                context.ending = stream.ending
                responses = handle(self._allowed(call, grpc_context, stream, decoder), context)
                async with aclosing(responses):
                    async for response in responses:
                        stream.answers()
                        content = encode(response)
                        context.trail.bytes_out += len(content)
                        yield content
                        stream.answered()
            except (asyncio.CancelledError, GeneratorExit):
                call.ended(CUT_OFF if self.admission.is_cut_off() else LEFT)
                raise
            except Exception as error:  # noqa: BLE001 - the boundary: nothing gets past it
                ending = call.failed(error)
                if isinstance(error, ServerDraining):
                    await _until_read()
            else:
                call.ended(OK)
                end_unread(self.receive_timeout_s)
                return
            finally:
                if stream is not None:
                    stream.answers()  # with its ending
            end_unread(self.receive_timeout_s)
            await grpc_context.abort(*ending)

        return wrapped

    def _call(self, method: str, grpc_context: Any) -> Call:
        call = Call(method, self.reports.add)
        if self.tracer is not None:
            call.headers = grpc_context.invocation_metadata()
            call.trail.trace_id, call.trail.trace = self.tracer.begin(call.headers)
        return call

    def _begin(self, call: Call, grpc_context: Any) -> CallContext:
        self.admission.check()
        try:
            call.caller = self.identification.caller(grpc_context, call.headers)
        except CallerUnauthenticated:
            call.peer = host_of(grpc_context.peer())
            raise
        call.headers = None
        if self.policy is not None:
            self.policy.value.check(call.caller.name, call.method)
        return CallContext.begin(call.caller, grpc_context.time_remaining(), call.trail)

    def _allow(self, call: Call, library: str) -> None:
        name = self.libraries.name(library)
        call.library = self.libraries.label(name)
        call.library_told = name if call.library == name else quoted(name)
        if self.policy is not None:
            self.policy.value.check(call.caller.name, call.method, name)
        self.libraries.require(library, lambda each: self._may_use(call, each))

    def _may_use(self, call: Call, library: str) -> bool:
        policy = self.policy.value if self.policy is not None else None
        return policy is None or policy.may(call.caller.name, call.method, library)

    async def _allowed(
        self, call: Call, grpc_context: Any, stream: Stream, decoder: Decoder
    ) -> AsyncIterator[tuple[Any, memoryview | None, int]]:
        """Yield a stream's messages, their images if these were cut out of them, and their bytes;
        check the first one's library before that.

        gRPC's own iterator would hold each message, and its image, until the next one comes. A
        message of 5.8 MB that is asked for its size is encoded for that.
        """
        pace, caller = self.admission.pace, call.caller.name
        while (content := await pace.read(caller, grpc_context)) is not grpc.aio.EOF:
            size_bytes = len(content)
            call.trail.bytes_in += size_bytes
            request, image = await decoder(content, caller)
            del content
            stream.came(is_item=request.HasField("item"))
            if not call.library:
                self._allow(call, request.settings.library)
            yield request, image, size_bytes
            del request, image


async def _until_read() -> None:
    """Let a caller read the last results of its stream before the stream ends.

    gRPC closes a stopping server's connection with its last call. A caller that still sends, for
    the results that it reads, then meets a reset, and its transport may throw away what it has not
    read: results, and the reason.
    """
    await asyncio.sleep(limits.DRAIN_READ_S)


async def decoded(
    method: str, decode: Decode, pace: Pace, content: bytes, caller: str
) -> tuple[Any, memoryview | None]:
    """Return the request that ``content`` is, and its image if that was cut out of it.

    Waits for the caller's turn if a large message has to be decoded whole. Raises FieldInvalid for
    what is no message of the method, or one of too many fields.
    """
    image = None
    if method not in _DECODERS and len(content) > limits.FIELDS_UNCOUNTED_BYTES:
        wire_format.require_few_fields(method, content)
    if len(content) > limits.PACED_BYTES:
        parts = image_part.cut(method, content)
        if parts is None:
            await pace.turn(caller)
        else:
            content, image = parts
    try:
        return _DECODERS.get(method, decode)(content), image
    except DecodeError:
        what = "not a message of this method; send what its generated client makes"
        raise wrong_request(what) from None
