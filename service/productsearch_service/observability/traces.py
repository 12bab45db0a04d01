"""Sends recorded RPCs as OpenTelemetry's spans to a collector, by OTLP over HTTP.

Needs the extra ``traces``; imported only where the settings name a collector. The exporter over
gRPC is not used: it would share gRPC's core with the service. A span holds names, numbers and
reasons, never a URL, a brief or a secret.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from requests import Response, Session

from productsearch_service import limits
from productsearch_service.traces import Part, Trace

_log = logging.getLogger(__name__)

_NAME: Final = "productsearch-service"
_RPC_SERVICE: Final = "productsearch.v1.ProductSearch/"
_FAILED: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""Codes that OpenTelemetry counts as errors of a server."""
_CLOSE_S: Final = 2.0
_PATH: Final = "/v1/traces"
"""Where collectors take OTLP over HTTP."""
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_UNSET: Final = Status(StatusCode.UNSET)
_ERROR: Final = Status(StatusCode.ERROR)


class _OneResource(Resource):
    """What all spans are of. The usual one becomes JSON for each span, to be hashed."""

    __hash__ = object.__hash__


class _Ended(ReadableSpan):
    """A recorded RPC as the processor takes it: the name of its span, and all that it recorded."""

    def __init__(self, trace: Trace, resource: Resource) -> None:
        own = _context(int(trace.trace_id, 16), trace.span_id)
        super().__init__(trace.method, context=own, resource=resource)
        self.trace = trace


class _SpansOf(SpanExporter):
    """Makes the spans of RPCs where they are sent, many in a row in a thread."""

    def __init__(
        self, exporter: SpanExporter, resource: Resource, released: str, why_not: Callable[[], str]
    ) -> None:
        self._exporter = exporter
        self._why_not = why_not
        self._told = ""
        self.is_closed = False
        """Nobody waits for it any more: what is lost now has no line."""
        self.counts = {"sent": 0, "lost": 0, "dropped": 0}
        """Spans by what became of them."""
        self.rpcs_taken = 0
        """RPCs that wait no more."""
        self._resource = resource
        self._scope = InstrumentationScope(_NAME, released)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send all spans of the RPCs."""
        self.rpcs_taken += len(spans)
        ended = (each.trace for each in spans if isinstance(each, _Ended))
        made = [span for trace in ended for span in self._of(trace)]
        result = self._exporter.export(made)
        is_sent = result is SpanExportResult.SUCCESS
        self.counts["sent" if is_sent else "lost"] += len(made)
        self._tell("" if is_sent else self._why_not())
        return result

    def _tell(self, why_not: str) -> None:
        """Log that spans are lost, once for each cause, and that they are taken again."""
        if self.is_closed:
            return
        if why_not and why_not != self._told:
            _log.error("traces_endpoint: %s; its spans are lost", why_not)
        elif self._told and not why_not:
            _log.info("traces_endpoint: the collector takes spans again")
        self._told = why_not

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


class _Answers:
    """What the collector answered last, for the line that spans are lost."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self._place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._path = parts.path
        self._status = 0
        self.session = Session()
        self.session.hooks["response"].append(self._seen)

    def _seen(self, response: Response, *_: object, **__: object) -> None:
        self._status = response.status_code

    def why_not(self) -> str:
        """Return why spans were not taken; asked once for each failure."""
        status, self._status = self._status, 0
        if not status:
            return f"{self._place} does not answer"
        hint = "" if self._path.endswith(_PATH) else f": the path is usually {_PATH}"
        return f"{self._place} answered {status}{hint}"


def why_not_taken(endpoint: str, within_s: float) -> str:
    """Return why a collector takes no spans, nothing if it does; none are sent to it."""
    answers = _Answers(endpoint)
    exporter = OTLPSpanExporter(endpoint=endpoint, session=answers.session, timeout=within_s)
    try:
        return "" if exporter.export(()) is SpanExportResult.SUCCESS else answers.why_not()
    finally:
        exporter.shutdown()  # type: ignore[no-untyped-call]


class Spans:
    """Takes RPCs that have ended; their spans are made and sent by a thread.

    So many RPCs wait for it at most. What comes then is dropped, and counted.
    """

    def __init__(
        self, exporter: SpanExporter, why_not: Callable[[], str] = lambda: "not taken"
    ) -> None:
        released = version(_NAME)
        usual = Resource.create({"service.name": _NAME, "service.version": released})
        self._resource = _OneResource(usual.attributes, usual.schema_url)
        self._sending = _SpansOf(exporter, self._resource, released, why_not)
        self.counts = self._sending.counts
        """Spans by what became of them: sent, lost at the collector, or dropped before."""
        self._rpcs = 0
        self._processor = BatchSpanProcessor(
            self._sending,
            max_queue_size=limits.TRACES_WAITING_MAX,
            max_export_batch_size=limits.TRACES_SENT_TOGETHER,
        )

    @classmethod
    def to(cls, endpoint: str) -> Spans:
        """Return spans that go to the URL of a collector, such as http://host:4318/v1/traces."""
        answers = _Answers(endpoint)
        # Its own lines name neither the setting nor the URL; ours do.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
        return cls(OTLPSpanExporter(endpoint=endpoint, session=answers.session), answers.why_not)

    def export(self, trace: Trace) -> None:
        """Hand the spans of an RPC over."""
        if self._rpcs - self._sending.rpcs_taken >= limits.TRACES_WAITING_MAX:
            self.counts["dropped"] += len(trace.parts) + 1
            return
        self._rpcs += 1
        self._processor.on_end(_Ended(trace, self._resource))

    def close(self) -> None:
        """Send what is left, if the collector takes it soon: a stop does not wait for one."""
        sending = threading.Thread(target=self._processor.shutdown, daemon=True)
        sending.start()
        sending.join(_CLOSE_S)
        self._sending.is_closed = True


def _context(trace_id: int, span_id: int) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED)


def _ns(trace: Trace, at_s: float) -> int:
    """Return a time of the monotonic clock as nanoseconds of the wall clock."""
    return int((trace.began_at_s + at_s - trace.began_s) * 1e9)
