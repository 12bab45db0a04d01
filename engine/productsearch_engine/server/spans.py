"""Sends recorded calls as OpenTelemetry's spans to a collector, by OTLP over HTTP.

Needs the extra ``traces``; imported only where the settings name a collector. A span has names and
numbers, never a query, an image or a statement.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from requests import Response, Session

from productsearch_engine import traces
from productsearch_engine.traces import Trace

_NAME = "productsearch-engine"
_CLOSE_S = 2.0
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_TO_DATABASE: dict[str, str | int] = {"db.system.name": "postgresql"}
_PATH = "/v1/traces"
"""Where collectors take OTLP over HTTP."""

_log = logging.getLogger(__name__)


class _Sending(SpanExporter):
    """Sends spans, counts them, and says once for each cause that a collector takes none."""

    def __init__(self, endpoint: str, count: Callable[[str, int], None], timeout_s: float | None):
        parts = urlsplit(endpoint)
        self._place = f"{parts.scheme}://{parts.netloc}{parts.path}"
        self._hint = "" if parts.path.endswith(_PATH) else f": the path is usually {_PATH}"
        self._count = count
        self._status = 0
        self._told = ""
        session = Session()
        session.hooks["response"].append(self._answered)
        # Its own lines name neither the setting nor the URL; ours do.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
        self._exporter = OTLPSpanExporter(endpoint=endpoint, session=session, timeout=timeout_s)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans."""
        self._status = 0
        result = self._exporter.export(spans)
        is_sent = result is SpanExportResult.SUCCESS
        self._count("sent" if is_sent else "lost", len(spans))
        self._tell("" if is_sent else self.why_not())
        return result

    def shutdown(self) -> None:
        """Send nothing any more."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def why_not(self) -> str:
        """Return why spans were not taken."""
        if not self._status:
            return f"{self._place} does not answer"
        return f"{self._place} answered {self._status}{self._hint}"

    def _answered(self, response: Response, *_: object, **__: object) -> None:
        self._status = response.status_code

    def _tell(self, why_not: str) -> None:
        if why_not and why_not != self._told:
            _log.error("traces_endpoint: %s; its spans are lost", why_not)
        elif self._told and not why_not:
            _log.info("traces_endpoint: the collector takes spans again")
        self._told = why_not


def why_not_taken(endpoint: str, within_s: float) -> str:
    """Return why a collector takes no spans, nothing if it does; none are sent to it."""
    sending = _Sending(endpoint, lambda *_: None, within_s)
    try:
        return "" if sending.export(()) is SpanExportResult.SUCCESS else sending.why_not()
    finally:
        sending.shutdown()


class Spans:
    """Makes spans of calls that have ended, and gives them to a processor."""

    def __init__(self, processor: SpanProcessor):
        self._processor: SpanProcessor = processor
        released = version(_NAME)
        self._resource = Resource.create({"service.name": _NAME, "service.version": released})
        self._scope = InstrumentationScope(_NAME, released)

    @classmethod
    def to(cls, endpoint: str, count: Callable[[str, int], None]) -> Spans:
        """Return spans that go to the URL of a collector, such as http://host:4318/v1/traces.

        ``count`` gets what became of them, ``sent`` or ``lost``, and how many they are.
        """
        return cls(BatchSpanProcessor(_Sending(endpoint, count, None)))

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
