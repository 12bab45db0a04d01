"""What is sent to a collector: what OpenTelemetry's own encoder would write of the same spans."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from productsearch_service import limits
from productsearch_service.observability.otlp import Encoder
from productsearch_service.traces import Trace

NAME = "productsearch-service"
METHOD = "productsearch.v1.ProductSearch/SearchImages"
TOLD: dict[str, str | int] = {
    "caller": "shop",
    "library": "default",
    "reason": "-",
    "blame": "none",
    "attempts": 2,
    "log_id": str(2**63),
    "bytes_in": 0,
}


def ended(parent_id: int, code: str) -> Trace:
    """Return an RPC with parts of each kind."""
    trace = Trace("0af7651916cd43dd8448eb211c80319c", parent_id, lambda _: None)
    trace.part("receive", trace.began_s)
    trace.part("upstream search", trace.began_s, span_id=7, outcome="OK")
    trace.part("upstream search", trace.began_s, span_id=8, outcome="TIMEOUT")
    trace.end("SearchImages", code, TOLD, trace.began_s + 0.5)
    return trace


def by_opentelemetry(trace: Trace, drawn_ids: list[int]) -> ExportTraceServiceRequest:
    """Return what its encoder makes of the spans of an RPC."""
    trace_id = int(trace.trace_id, 16)
    common: dict[str, Any] = {
        "resource": Resource.create({"service.name": NAME, "service.version": version(NAME)}),
        "instrumentation_scope": InstrumentationScope(NAME, version(NAME)),
    }

    def at_ns(at_s: float) -> int:
        return int((at_s + (trace.began_at_s - trace.began_s)) * 1e9)

    own = SpanContext(trace_id, trace.span_id, is_remote=False)
    spans = []
    for part, span_id in zip(trace.parts, drawn_ids, strict=True):
        told = {"http.request.method": "POST", "productsearch.outcome": part.outcome}
        spans.append(
            ReadableSpan(
                part.name,
                context=SpanContext(trace_id, span_id, is_remote=False),
                parent=own,
                attributes=told if part.outcome else {},
                kind=SpanKind.CLIENT if part.outcome else SpanKind.INTERNAL,
                start_time=at_ns(part.began_s),
                end_time=at_ns(part.ended_s),
                **common,
            )
        )
    told = {"rpc.system.name": "grpc", "rpc.method": METHOD}
    told["rpc.response.status_code"] = trace.code
    told |= {f"productsearch.{name}": value for name, value in trace.attributes.items()}
    failed = trace.code == "UNAVAILABLE"
    spans.append(
        ReadableSpan(
            METHOD,
            context=own,
            parent=SpanContext(trace_id, trace.parent_id, is_remote=True)
            if trace.parent_id
            else None,
            attributes=told,
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=at_ns(trace.began_s),
            end_time=at_ns(trace.ended_s),
            **common,
        )
    )
    return encode_spans(spans)


def comparable(request: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    """Return a request with attributes in order, and no word of a status that is unset."""
    for span in request.resource_spans[0].scope_spans[0].spans:
        attributes = sorted(span.attributes, key=lambda each: each.key)
        del span.attributes[:]
        span.attributes.extend(attributes)
        if not span.status.code:
            span.ClearField("status")
    return request


@pytest.mark.parametrize("parent_id", [0, 2**64 - 1])
@pytest.mark.parametrize("code", ["OK", "INVALID_ARGUMENT", "UNAVAILABLE"])
def test_the_same_spans(parent_id: int, code: str) -> None:
    """Field by field; a part whose id nobody was told has one of its own."""
    traces = [ended(parent_id, code) for _ in range(2)]
    content, count = Encoder().encode(traces)
    found = comparable(ExportTraceServiceRequest.FromString(content))
    spans = found.resource_spans[0].scope_spans[0].spans
    assert 8 == count == len(spans)
    ids = [int.from_bytes(span.span_id, "big") for span in spans]
    assert [7, 8] * 2 == [*ids[1:3], *ids[5:7]]
    assert 4 == len({ids[0], ids[3], ids[4], ids[7]} - {0})
    for trace, first in zip(traces, (0, 4), strict=True):
        expected = comparable(by_opentelemetry(trace, ids[first : first + 3]))
        assert expected.resource_spans[0].resource == found.resource_spans[0].resource
        scope = expected.resource_spans[0].scope_spans[0]
        assert scope.scope == found.resource_spans[0].scope_spans[0].scope
        assert list(scope.spans) == spans[first : first + 4]


def test_parts_that_were_left_out_are_told() -> None:
    """Their number is an attribute of the RPC."""
    trace = Trace("1" * 32, 0, lambda _: None)
    for _ in range(limits.TRACE_PARTS_MAX + 3):
        trace.part("encode", trace.began_s)
    trace.end("BulkAddImages", "OK", {}, trace.began_s)
    content, count = Encoder().encode([trace])
    root = ExportTraceServiceRequest.FromString(content).resource_spans[0].scope_spans[0].spans[-1]
    told = {each.key: each.value.int_value for each in root.attributes}
    assert (limits.TRACE_PARTS_MAX + 1, 3) == (count, told["productsearch.spans_left_out"])
