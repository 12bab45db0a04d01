"""Writes RPCs as OpenTelemetry's spans, in the protobuf of OTLP.

OpenTelemetry's own encoder takes nine times as long: it wants an object for each span first.
A span holds names, numbers and reasons, never a URL, a brief or a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags, Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext

from productsearch_service.traces import Trace, new_span

_NAME: Final = "productsearch-service"
_RPC_SERVICE: Final = "productsearch.v1.ProductSearch/"
_FAILED: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""Codes that OpenTelemetry counts as errors of a server."""
_OF_ONE: Final = frozenset({"attempts", "log_id", "bytes_in"})
"""Attributes that are another with each RPC; the others are encoded once for all that are alike."""
_ALIKE_MAX: Final = 1024
_LOCAL: Final = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE: Final = _LOCAL | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
"""Whether the parent is another process's."""


class Encoder:
    """Encodes RPCs as spans of this process."""

    def __init__(self) -> None:
        released = version(_NAME)
        sample = ReadableSpan(
            "",
            context=SpanContext(1, 1, is_remote=False),
            resource=Resource.create({"service.name": _NAME, "service.version": released}),
            instrumentation_scope=InstrumentationScope(_NAME, released),
        )
        self._frame = encode_spans([sample])
        """Resource and scope, which all spans have."""
        del self._frame.resource_spans[0].scope_spans[0].spans[:]

    def encode(self, traces: Sequence[Trace]) -> tuple[bytes, int]:
        """Return an ExportTraceServiceRequest with all spans of these RPCs, and their number."""
        request = ExportTraceServiceRequest()
        request.CopyFrom(self._frame)
        spans = request.resource_spans[0].scope_spans[0].spans
        for trace in traces:
            _add(spans, trace)
        return request.SerializeToString(), len(spans)


def _add(spans: Any, trace: Trace) -> None:
    """Add the spans of an RPC: its parts, then its own."""
    trace_id, own = bytes.fromhex(trace.trace_id), _id(trace.span_id)
    shift_s = trace.began_at_s - trace.began_s  # to the wall clock
    for name, began_s, ended_s, span_id, outcome in trace.parts:
        part = spans.add()
        part.MergeFromString(_part(name, outcome))
        part.trace_id, part.span_id, part.parent_span_id = trace_id, _id(span_id or new_span()), own
        part.start_time_unix_nano = int((began_s + shift_s) * 1e9)
        part.end_time_unix_nano = int((ended_s + shift_s) * 1e9)
    root = spans.add()
    alike = tuple(told for told in trace.attributes.items() if told[0] not in _OF_ONE)
    root.MergeFromString(_root(trace.method, trace.code, alike))
    root.trace_id, root.span_id = trace_id, own
    if trace.parent_id:
        root.parent_span_id, root.flags = _id(trace.parent_id), _REMOTE
    root.start_time_unix_nano = int((trace.began_s + shift_s) * 1e9)
    root.end_time_unix_nano = int((trace.ended_s + shift_s) * 1e9)
    for name in _OF_ONE & trace.attributes.keys():
        root.attributes.append(_attribute(f"productsearch.{name}", trace.attributes[name]))
    if trace.left_out:
        root.attributes.append(_attribute("productsearch.spans_left_out", trace.left_out))


@lru_cache(maxsize=_ALIKE_MAX)
def _part(name: str, outcome: str) -> bytes:
    """Return what all parts of this name and outcome have."""
    span = Span(name=name, kind=Span.SPAN_KIND_INTERNAL, flags=_LOCAL)
    if outcome:
        span.kind = Span.SPAN_KIND_CLIENT
        told = {"http.request.method": "POST", "productsearch.outcome": outcome}
        span.attributes.extend(_attribute(*each) for each in told.items())
    return span.SerializeToString()


@lru_cache(maxsize=_ALIKE_MAX)
def _root(method: str, code: str, attributes: tuple[tuple[str, str | int], ...]) -> bytes:
    """Return what all RPCs with these attributes have."""
    name = _RPC_SERVICE + method
    span = Span(name=name, kind=Span.SPAN_KIND_SERVER, flags=_LOCAL)
    told: dict[str, str | int] = {
        "rpc.system.name": "grpc",
        "rpc.method": name,
        "rpc.response.status_code": code,
    }
    told |= {f"productsearch.{attribute}": value for attribute, value in attributes}
    span.attributes.extend(_attribute(*each) for each in told.items())
    if code in _FAILED:
        span.status.code = Status.STATUS_CODE_ERROR
    return span.SerializeToString()


def _attribute(key: str, value: str | int) -> KeyValue:
    if isinstance(value, int):
        return KeyValue(key=key, value=AnyValue(int_value=value))
    return KeyValue(key=key, value=AnyValue(string_value=value))


def _id(span_id: int) -> bytes:
    return span_id.to_bytes(8, "big")
