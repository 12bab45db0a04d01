"""Tracing as operators switch it on: OpenTelemetry's instrumentations of HTTP clients, heard.

Every span that would be exported is heard as JSON, with the URLs that the instrumentations put
into it. Knows nothing of the service.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from unittest.mock import patch

from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from tests.soak.ears import Ears

SINK: Final = "spans"


class _Exporter(SpanExporter):
    def __init__(self, ears: Ears) -> None:
        self._ears = ears

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            self._ears.hear(SINK, f"span {span.name}", span.to_json())
        return SpanExportResult.SUCCESS


@contextmanager
def traced(ears: Ears) -> Iterator[None]:
    """Trace aiohttp, requests and urllib3; hear each span, and in the end the metrics too."""
    spans, reader = TracerProvider(), InMemoryMetricReader()
    spans.add_span_processor(SimpleSpanProcessor(_Exporter(ears)))
    metrics = MeterProvider([reader])
    instrumentors = (
        AioHttpClientInstrumentor(),
        RequestsInstrumentor(),
        URLLib3Instrumentor(),
    )
    # The old names of attributes and the new ones, http.url and url.full.
    with patch.dict(os.environ, {"OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup"}):
        for instrumentor in instrumentors:
            instrumentor.instrument(tracer_provider=spans, meter_provider=metrics)
    try:
        yield
    finally:
        for instrumentor in instrumentors:
            instrumentor.uninstrument()
        told = reader.get_metrics_data()
        ears.hear(SINK, "metrics of the instrumentations", told.to_json() if told else "")
        spans.shutdown()
        metrics.shutdown()
