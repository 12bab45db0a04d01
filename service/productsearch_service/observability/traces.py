"""Sends recorded RPCs as OpenTelemetry's spans to a collector, by OTLP over HTTP.

Needs the extra ``traces``; imported only where the settings name a collector. The exporter over
gRPC is not used: it would share gRPC's core with the service.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, TraceFlags
from requests import Response, Session

from productsearch_service import limits
from productsearch_service.observability.otlp import Encoder
from productsearch_service.traces import Trace

_log = logging.getLogger(__name__)

_CLOSE_S: Final = 2.0
_PATH: Final = "/v1/traces"
"""Where collectors take OTLP over HTTP."""
_RECORDED: Final = SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
"""The processor takes nothing else. Ids are written where the spans are."""
_NO_RESOURCE: Final = Resource.get_empty()


class _Ended(ReadableSpan):
    """A recorded RPC as the processor takes it; its spans are made where they are sent."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace.method, context=_RECORDED, resource=_NO_RESOURCE)
        self.trace = trace


class _SpansOf(SpanExporter):
    """Encodes the spans of RPCs where they are sent, many in a row in a thread."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._encoder = Encoder()
        self._told = ""
        self.is_closed = False
        """Nobody waits for it any more: what is lost now has no line."""
        self.counts = {"sent": 0, "lost": 0, "dropped": 0}
        """Spans by what became of them."""
        self.rpcs_taken = 0
        """RPCs that wait no more."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send all spans of the RPCs."""
        self.rpcs_taken += len(spans)
        content, count = self._encoder.encode([it.trace for it in spans if isinstance(it, _Ended)])
        why_not = self._collector.post(content)
        self.counts["lost" if why_not else "sent"] += count
        self._tell(why_not)
        return SpanExportResult.FAILURE if why_not else SpanExportResult.SUCCESS

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
        self._collector.close()


class _Session(Session):
    """Posts ``content`` in place of what it is asked to post."""

    def __init__(self) -> None:
        super().__init__()
        self.content = b""
        self.status = 0
        """Of the last answer."""

    def request(self, *arguments: Any, **options: Any) -> Response:
        """Send a request and return its answer, as requests does."""
        options["data"] = self.content
        response = super().request(*arguments, **options)
        self.status = response.status_code
        return response


class Collector:
    """Takes spans that are encoded, at a URL.

    OpenTelemetry's exporter posts them, with its retries and by its variables of the environment
    (headers, certificates). It would encode by itself, so it is given no spans, and its session
    has the content.
    """

    def __init__(self, endpoint: str, within_s: float | None = None) -> None:
        parts = urlsplit(endpoint)
        self._place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._path = parts.path
        self._session = _Session()
        self._exporter = OTLPSpanExporter(
            endpoint=endpoint,
            session=self._session,
            timeout=within_s,
            compression=Compression.NoCompression,
        )

    def post(self, content: bytes) -> str:
        """Send spans; return why they were not taken, nothing if they were."""
        self._session.content, self._session.status = content, 0
        if self._exporter.export(()) is SpanExportResult.SUCCESS:
            return ""
        if not self._session.status:
            return f"{self._place} does not answer"
        hint = "" if self._path.endswith(_PATH) else f": the path is usually {_PATH}"
        return f"{self._place} answered {self._session.status}{hint}"

    def close(self) -> None:
        """Send nothing any more."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


def why_not_taken(endpoint: str, within_s: float) -> str:
    """Return why a collector takes no spans, nothing if it does; none are sent to it."""
    collector = Collector(endpoint, within_s)
    try:
        return collector.post(b"")
    finally:
        collector.close()


class Spans:
    """Takes RPCs that have ended; their spans are encoded and sent by a thread.

    So many RPCs wait for it at most. What comes then is dropped, and counted.
    """

    def __init__(self, collector: Collector) -> None:
        self._sending = _SpansOf(collector)
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
        # Its own lines name neither the setting nor the URL; ours do.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
        return cls(Collector(endpoint))

    def export(self, trace: Trace) -> None:
        """Hand the spans of an RPC over."""
        if self._rpcs - self._sending.rpcs_taken >= limits.TRACES_WAITING_MAX:
            self.counts["dropped"] += len(trace.parts) + 1
            return
        self._rpcs += 1
        self._processor.on_end(_Ended(trace))

    def flush(self) -> None:
        """Send what waits, and wait for that."""
        self._processor.force_flush()

    def close(self) -> None:
        """Send what is left, if the collector takes it soon: a stop does not wait for one."""
        sending = threading.Thread(target=self._processor.shutdown, daemon=True)
        sending.start()
        sending.join(_CLOSE_S)
        self._sending.is_closed = True
