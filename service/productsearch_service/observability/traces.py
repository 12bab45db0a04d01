"""Sends recorded RPCs as OpenTelemetry's spans to a collector, by OTLP over HTTP.

Needs the extra ``traces``; imported only where the settings name a collector. The exporter over
gRPC is not used: it would share gRPC's core with the service. A span holds names, numbers and
reasons, never a URL, a brief or a secret.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from productsearch_service import limits
from productsearch_service.traces import Part, Trace

_NAME: Final = "productsearch-service"
_RPC_SERVICE: Final = "productsearch.v1.ProductSearch/"
_FAILED: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""Codes that OpenTelemetry counts as errors of a server."""
_CLOSE_S: Final = 2.0
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_UNSET: Final = Status(StatusCode.UNSET)
_ERROR: Final = Status(StatusCode.ERROR)


class _Ended(ReadableSpan):
    """A recorded RPC as the processor takes it: the name of its span, and all that it recorded."""

    def __init__(self, trace: Trace, resource: Resource) -> None:
        own = _context(int(trace.trace_id, 16), trace.span_id)
        super().__init__(trace.method, context=own, resource=resource)
        self.trace = trace


class _SpansOf(SpanExporter):
    """Makes the spans of RPCs where they are sent, many in a row in a thread."""

    def __init__(self, exporter: SpanExporter, resource: Resource, released: str) -> None:
        self._exporter = exporter
        self._resource = resource
        self._scope = InstrumentationScope(_NAME, released)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send all spans of the RPCs."""
        ended = (each.trace for each in spans if isinstance(each, _Ended))
        return self._exporter.export([span for trace in ended for span in self._of(trace)])

    def shutdown(self) -> None:
        """Send nothing any more."""
        self._exporter.shutdown()

    def _of(self, trace: Trace) -> Iterator[ReadableSpan]:
        trace_id = int(trace.trace_id, 16)
        own = _context(trace_id, trace.span_id)
        for part in trace.parts:
            attributes, kind = {}, SpanKind.INTERNAL
            if part.outcome:
                attributes = {"http.request.method": "POST", "productsearch.outcome": part.outcome}
                kind = SpanKind.CLIENT
            yield self._span(part.name, trace, part, trace_id, own, attributes, kind)
        parent = None
        if trace.parent_id:
            parent = SpanContext(trace_id, trace.parent_id, is_remote=True, trace_flags=_SAMPLED)
        method = _RPC_SERVICE + trace.method
        told: dict[str, str | int] = {
            "rpc.system.name": "grpc",
            "rpc.method": method,
            "rpc.response.status_code": trace.code,
        }
        for name, value in trace.attributes.items():
            told[f"productsearch.{name}"] = value
        if trace.left_out:
            told["productsearch.spans_left_out"] = trace.left_out
        yield ReadableSpan(
            method,
            context=own,
            parent=parent,
            resource=self._resource,
            attributes=told,
            kind=SpanKind.SERVER,
            status=_ERROR if trace.code in _FAILED else _UNSET,
            start_time=_ns(trace, trace.began_s),
            end_time=_ns(trace, trace.ended_s),
            instrumentation_scope=self._scope,
        )

    def _span(
        self,
        name: str,
        trace: Trace,
        part: Part,
        trace_id: int,
        parent: SpanContext,
        attributes: Mapping[str, str],
        kind: SpanKind,
    ) -> ReadableSpan:
        return ReadableSpan(
            name,
            context=_context(trace_id, part.span_id),
            parent=parent,
            resource=self._resource,
            attributes=attributes,
            kind=kind,
            status=_UNSET,
            start_time=_ns(trace, part.began_s),
            end_time=_ns(trace, part.ended_s),
            instrumentation_scope=self._scope,
        )


class Spans:
    """Takes RPCs that have ended; their spans are made and sent by a thread."""

    def __init__(self, exporter: SpanExporter) -> None:
        released = version(_NAME)
        self._resource = Resource.create({"service.name": _NAME, "service.version": released})
        self._processor = BatchSpanProcessor(
            _SpansOf(exporter, self._resource, released),
            max_export_batch_size=limits.TRACES_SENT_TOGETHER,
        )

    @classmethod
    def to(cls, endpoint: str) -> Spans:
        """Return spans that go to the URL of a collector, such as http://host:4318/v1/traces."""
        return cls(OTLPSpanExporter(endpoint=endpoint))

    def export(self, trace: Trace) -> None:
        """Hand the spans of an RPC over."""
        self._processor.on_end(_Ended(trace, self._resource))

    def close(self) -> None:
        """Send what is left, if the collector takes it soon: a stop does not wait for one."""
        sending = threading.Thread(target=self._processor.shutdown, daemon=True)
        sending.start()
        sending.join(_CLOSE_S)


def _context(trace_id: int, span_id: int) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED)


def _ns(trace: Trace, at_s: float) -> int:
    """Return a time of the monotonic clock as nanoseconds of the wall clock."""
    return int((trace.began_at_s + at_s - trace.began_s) * 1e9)
