"""Sends recorded calls as OpenTelemetry's spans to a collector, by OTLP over HTTP.

Needs the extra ``traces``; imported only where the settings name a collector. A span has names and
numbers, never a query, an image or a statement.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from productsearch_engine import traces
from productsearch_engine.traces import Trace

_NAME = "productsearch-engine"
_CLOSE_S = 2.0
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_TO_DATABASE: dict[str, str | int] = {"db.system.name": "postgresql"}


class Spans:
    """Makes spans of calls that have ended, and gives them to a processor."""

    def __init__(self, processor: SpanProcessor):
        self._processor: SpanProcessor = processor
        released = version(_NAME)
        self._resource = Resource.create({"service.name": _NAME, "service.version": released})
        self._scope = InstrumentationScope(_NAME, released)

    @classmethod
    def to(cls, endpoint: str) -> Spans:
        """Return spans that go to the URL of a collector, such as http://host:4318/v1/traces."""
        return cls(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))

    def export(self, trace: Trace) -> None:
        """Hand the spans of a call over; sending is a thread's work."""
        for span in self._of(trace):
            self._processor.on_end(span)

    def close(self) -> None:
        """Send what is left, if the collector takes it soon: a stop does not wait for one."""
        sending = threading.Thread(target=self._processor.shutdown, daemon=True)
        sending.start()
        sending.join(_CLOSE_S)

    def _of(self, trace: Trace) -> Iterator[ReadableSpan]:
        trace_id = int(trace.trace_id, 16)
        own = _context(trace_id, traces.new_span_id())
        for part in trace.parts:
            context = _context(trace_id, traces.new_span_id())
            kind, told = SpanKind.INTERNAL, {}
            if part.name == "sql":
                kind, told = SpanKind.CLIENT, _TO_DATABASE
            times = part.began_s, part.ended_s
            yield self._span(part.name, trace, (context, own), kind, told, times)
        parent = SpanContext(trace_id, trace.parent_id, is_remote=True, trace_flags=_SAMPLED)
        says: dict[str, str | int] = {
            "http.request.method": "POST",
            "productsearch.code": trace.code,
            "productsearch.log_id": str(trace.log_id),  # it has 63 bits
        }
        name, times = f"engine {trace.method}", (0.0, trace.seconds)
        yield self._span(name, trace, (own, parent), SpanKind.SERVER, says, times)

    def _span(
        self,
        name: str,
        trace: Trace,
        contexts: tuple[SpanContext, SpanContext],
        kind: SpanKind,
        attributes: dict[str, str | int],
        times: tuple[float, float],
    ) -> ReadableSpan:
        """Return a span; contexts: its own, its parent's; times: seconds since the call began."""
        began_ns, ended_ns = (int((trace.began_at_s + at_s) * 1e9) for at_s in times)
        return ReadableSpan(
            name,
            context=contexts[0],
            parent=contexts[1],
            resource=self._resource,
            attributes=attributes,
            kind=kind,
            start_time=began_ns,
            end_time=ended_ns,
            instrumentation_scope=self._scope,
        )


def _context(trace_id: int, span_id: int) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED)
