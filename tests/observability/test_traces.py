"""Spans of a call: one tree in the caller's trace, only where it is recorded, and no secrets."""

from __future__ import annotations

import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from productsearch import v1
from productsearch_engine.metrics import Metrics
from productsearch_engine.server.spans import Spans as EngineSpans
from productsearch_engine.traces import Trace as EngineTrace
from productsearch_service import limits
from productsearch_service.observability.traces import Spans
from productsearch_service.traces import Trace, Tracer
from tests.calls.silent import policy_file, token_of
from tests.conftest import FacadeFactory
from tests.fakes.upstream import FakeUpstream, Fault, error
from tests.lifecycle.asking import until
from tests.observability.collector import Collector, Refusing, Seen
from tests.observability.test_lines import Lines, lines  # noqa: F401 - a fixture
from tests.pictures import jpeg

SERVER, CLIENT, INTERNAL = 2, 3, 1
METHOD = "productsearch.v1.ProductSearch/"
IMAGE = v1.ImageSource(content=jpeg(1))
SEARCH = v1.SearchImagesRequest(image=IMAGE)

Stub = v1.ProductSearchStub
Start = Callable[..., Stub]


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Return a collector of the test's own."""
    with Collector() as running:
        yield running


@pytest.fixture
def traced(
    collector: Collector, facade: FacadeFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Start]:
    """Return a function that starts a facade that sends its spans at once."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")

    def start(library: dict[str, Any] | None = None, **changes: Any) -> Stub:
        return facade(library, **{"traces_endpoint": collector.url, "traces_share": 1} | changes)

    return start


def parent(*, sampled: bool = True) -> tuple[str, str, tuple[tuple[str, str]]]:
    """Return a trace, a span in it, and the metadata of a caller who is there."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, (("traceparent", f"00-{trace}-{span}-{sampled:02x}"),)


def header(upstream: FakeUpstream, method: str) -> str | None:
    """Return the trace context that the last request of a method came with."""
    last = [request for request in upstream.received if request.method == method][-1]
    return last.headers.get("traceparent")


def children(spans: list[Seen], root: Seen) -> dict[str, Seen]:
    """Return the spans below one by name."""
    return {span.name: span for span in spans if span.parent == root.own}


def test_one_tree_from_the_caller_to_the_engine(
    traced: Start, collector: Collector, upstream: FakeUpstream
) -> None:
    """The call is the caller's child, its parts are its own, the engine is below its request."""
    stub = traced({"upstream": "engine", "quota_qps": 1000})
    trace, span, metadata = parent()
    image = v1.NewImage(image=IMAGE, brief="b")
    stub.AddImage(v1.AddImageRequest(new_image=image), metadata=metadata)
    found = collector.wait_for(METHOD + "AddImage", "upstream add")
    root = found[METHOD + "AddImage"]
    assert (trace, span, SERVER) == (root.trace, root.parent, root.kind)
    below = children(collector.spans(), root)
    assert {"receive", "encode", "wait token", "upstream add", "parse"} <= {*below}
    assert {trace} == {each.trace for each in collector.spans()}
    assert f"00-{trace}-{below['upstream add'].own}-01" == header(upstream, "add")
    assert CLIENT == below["upstream add"].kind
    assert "OK" == below["upstream add"].attributes["productsearch.outcome"]
    for each in below.values():
        assert root.began_ns <= each.began_ns <= each.ended_ns <= root.ended_ns
    assert ("OK", "default") == (
        root.attributes["rpc.response.status_code"],
        root.attributes["productsearch.library"],
    )


@pytest.mark.parametrize(
    ("kind", "setting", "sends"),
    [
        ("vendor", None, False),
        ("vendor", True, True),
        ("engine", None, True),
        ("engine", False, False),
    ],
)
def test_who_learns_the_trace(
    kind: str, setting: bool | None, sends: bool, traced: Start, upstream: FakeUpstream
) -> None:
    """The vendor's cloud never learns it unless it is set; the engine does unless it is not."""
    stub = traced({"upstream": kind, "send_trace": setting})
    stub.SearchImages(SEARCH, metadata=parent()[2])
    assert sends == (header(upstream, "search") is not None)
    assert header(upstream, "token") is None


def test_what_the_caller_does_not_record(
    traced: Start,
    collector: Collector,
    upstream: FakeUpstream,
    lines: Lines,  # noqa: F811
) -> None:
    """It has no spans, whatever the share, but its trace is in the line and goes to the engine."""
    stub = traced({"upstream": "engine"})
    trace, _, metadata = parent(sampled=False)
    stub.SearchImages(SEARCH, metadata=metadata)
    told = str(header(upstream, "search"))
    assert (f"00-{trace}-", "-00") == (told[:36], told[-3:])
    assert trace == lines.last()["trace_id"]
    recorded, _, metadata = parent()
    stub.SearchImages(SEARCH, metadata=metadata)
    collector.wait_for("upstream search")
    assert {recorded} == {span.trace for span in collector.spans()}


def test_a_call_without_a_trace(traced: Start, collector: Collector, lines: Lines) -> None:  # noqa: F811
    """It begins one; its root has no parent, and its line names it."""
    traced().SearchImages(SEARCH)
    root = collector.wait_for(METHOD + "SearchImages")[METHOD + "SearchImages"]
    assert ("", lines.last()["trace_id"]) == (root.parent, root.trace)


def test_without_traces_there_are_none(
    facade: FacadeFactory,
    upstream: FakeUpstream,
    lines: Lines,  # noqa: F811
) -> None:
    """A caller's trace is neither told nor passed on."""
    facade({"upstream": "engine"}).SearchImages(SEARCH, metadata=parent()[2])
    assert header(upstream, "search") is None
    assert "-" == lines.last()["trace_id"]


@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_the_share_of_calls(share: float) -> None:
    """Of calls without a trace that share is recorded."""
    tracer = Tracer(share, lambda _: None)
    recorded = sum(tracer.begin(())[1] is not None for _ in range(2000))
    assert abs(recorded - share * 2000) <= (0 if share in (0, 1) else 200)


@settings(max_examples=200)
@given(
    st.one_of(
        st.text(max_size=80),
        st.builds(
            lambda version, trace, span, flags, more: f"{version}-{trace}-{span}-{flags}{more}",
            st.sampled_from(["00", "01", "ff", "0"]),
            st.text("09af", min_size=31, max_size=33),
            st.text("09af", min_size=15, max_size=17),
            st.sampled_from(["00", "01", "03", "fe", "1"]),
            st.sampled_from(["", "", "-", "-x"]),
        ),
        st.sampled_from(
            [
                f"00-{'0' * 32}-{'1' * 16}-01",
                f"00-{'1' * 32}-{'0' * 16}-01",
                f"ff-{'1' * 32}-{'1' * 16}-01",
                f"00-{'1' * 32}-{'1' * 16}-01-more",
                f"00-{'A' * 32}-{'1' * 16}-01",
                f"00-{'1' * 32}-{'1' * 16}-01\n",
            ]
        ),
    )
)
def test_a_header_that_is_none(text: str) -> None:
    """Whatever a caller sends, there is a trace; what it sent is followed only if it is one."""
    trace_id, trace = Tracer(0, lambda _: None).begin((("traceparent", text),))
    assert len(trace_id) == 32
    assert int(trace_id, 16)
    parts = text.split("-")
    if trace_id in parts:
        assert trace_id == parts[1]
        assert int(parts[2], 16)
        assert parts[0] != "ff"
        assert parts[0] != "00" or len(parts) == 4
        assert (trace is not None) == bool(int(parts[3], 16) & 1)
    if trace is not None:
        assert [trace.trace_id, f"{trace.parent_id:016x}"] == parts[1:3]


@given(st.integers(0, 3 * limits.TRACE_PARTS_MAX))
def test_parts_are_bounded(count: int) -> None:
    """A long stream keeps so many parts and counts the rest."""
    trace = Trace("1" * 32, 0, lambda _: None)
    for _ in range(count):
        trace.part("encode", 0.0)
    kept = min(count, limits.TRACE_PARTS_MAX)
    assert (kept, count - kept) == (len(trace.parts), trace.left_out)


def test_a_failed_call(traced: Start, collector: Collector, upstream: FakeUpstream) -> None:
    """Each attempt is a span with its outcome, and so is each wait before the next one."""
    upstream.then("search", error(2, "away"), error(2, "away"), error(2, "away"))
    with pytest.raises(grpc.RpcError):
        traced().SearchImages(SEARCH)
    root = collector.wait_for(METHOD + "SearchImages")[METHOD + "SearchImages"]
    assert root.failed
    assert ("UPSTREAM_UNAVAILABLE", "upstream", "3") == tuple(
        root.attributes[f"productsearch.{name}"] for name in ("reason", "blame", "attempts")
    )
    names = [span.name for span in collector.spans() if span.parent == root.own]
    assert (3, 2) == (names.count("upstream search"), names.count("wait retry"))


def test_a_stranger_makes_no_spans(traced: Start, collector: Collector, tmp_path: Path) -> None:
    """A trace of a call that is refused before its caller is known is not recorded."""
    stub = traced(policy_file=policy_file(tmp_path))
    for _ in range(5):
        with pytest.raises(grpc.RpcError) as refused:
            stub.SearchImages(SEARCH, metadata=parent()[2])
        assert grpc.StatusCode.UNAUTHENTICATED == refused.value.code()
    stub.SearchImages(SEARCH, metadata=token_of("one"))
    root = collector.wait_for(METHOD + "SearchImages")[METHOD + "SearchImages"]
    assert "one" == root.attributes["productsearch.caller"]
    assert 1 == [span.name for span in collector.spans()].count(METHOD + "SearchImages")


def test_nothing_that_is_secret_or_the_callers(
    traced: Start, collector: Collector, upstream: FakeUpstream
) -> None:
    """No URL, brief, token or key, also of calls that fail with an upstream that echoes."""
    stub = traced({"api_key": "an-api-key-to-hide", "secret_key": "a-secret-key-to-hide"})
    brief, address = "the-brief-of-mine", "http://images.example/of-mine.jpg"
    new = v1.NewImage(image=v1.ImageSource(url=address), brief=brief)
    upstream.always("add", lambda received: Fault(status=500, body=received.query.encode()))
    with pytest.raises(grpc.RpcError):
        stub.AddImage(v1.AddImageRequest(new_image=new), timeout=20)
    stub.SearchImages(v1.SearchImagesRequest(image=v1.ImageSource(url=address)))
    collector.wait_for(METHOD + "AddImage", METHOD + "SearchImages")
    sent = b"".join(collector.raw)
    token = next(each.token for each in upstream.received if each.token)
    hidden = (brief, "of-mine.jpg", token, "an-api-key-to-hide", "a-secret-key-to-hide", "rest/2.0")
    assert [] == [each for each in hidden if each.encode() in sent]


def test_a_collector_that_is_gone(facade: FacadeFactory) -> None:
    """Calls are answered, and the service stops, without it."""
    stub = facade(traces_endpoint="http://127.0.0.1:9/v1/traces", traces_share=1)
    for _ in range(3):
        assert stub.SearchImages(SEARCH).results


@pytest.mark.parametrize("path", ["", "/v1/traces"])
def test_a_collector_that_refuses_has_a_line(
    path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With setting, URL and answer, once; with the usual path if it has another one; no secret."""

    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    with Refusing(path) as url:
        place = url.removeprefix("http://")
        spans = Spans.to(f"http://user:collectors-secret@{place}")
        for number in (1, 2):
            _, trace = Tracer(1.0, spans.export).begin(None)
            assert trace is not None
            trace.end("SearchImages", "OK", {}, time.monotonic())
            until(lambda n=number: spans.counts["lost"] == n, "the answer")  # type: ignore[misc]
        spans.close()
    hint = "" if path else ": the path is usually /v1/traces"
    told = f"traces_endpoint: http://{place} answered 404{hint}; its spans are lost"
    assert [told] == [each for each in caplog.messages if f"//{place} " in each]
    assert {"sent": 0, "lost": 2, "dropped": 0} == spans.counts


class _Stands:
    """A collector that answers nothing until it may."""

    def __init__(self, why_not: str = "") -> None:
        self.may = threading.Event()
        self._why_not = why_not

    def post(self, _: bytes) -> str:
        self.may.wait(60)
        return self._why_not

    def close(self) -> None:
        pass


def test_a_stopped_service_writes_no_line_of_its_spans(caplog: pytest.LogCaptureFixture) -> None:
    """A stop does not wait for a collector that hangs, and its thread says nothing afterwards."""
    collector = _Stands("it refuses")
    spans = Spans(collector)
    _, trace = Tracer(1.0, spans.export).begin(())
    assert trace is not None
    trace.end("SearchImages", "OK", {}, trace.began_s)
    spans.close()
    collector.may.set()
    until(lambda: spans.counts["lost"] == 1, "the failure")
    time.sleep(0.05)
    assert [] == [each for each in caplog.messages if "traces_endpoint" in each]


def test_spans_over_the_bound_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that takes nothing has so many RPCs wait; the rest is dropped, not forgotten."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
    collector = _Stands()
    spans = Spans(collector)
    over, rpcs = 50, limits.TRACES_WAITING_MAX + limits.TRACES_SENT_TOGETHER
    for _ in range(rpcs + over):
        _, trace = Tracer(1.0, spans.export).begin(())
        assert trace is not None
        trace.part("encode", trace.began_s)
        trace.end("SearchImages", "OK", {}, trace.began_s)
    collector.may.set()
    spans.close()
    # Those that are on their way when it stands still wait no more.
    assert 2 * over <= spans.counts["dropped"] <= 2 * (over + limits.TRACES_SENT_TOGETHER)
    assert 2 * (rpcs + over) == sum(spans.counts.values())


def test_the_engine_counts_its_spans(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A collector that refuses has a line, once; what is lost and what is sent is counted."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    metrics = Metrics()

    def count(outcome: str) -> float:
        name = "productsearch_engine_spans_total"
        return metrics.registry.get_sample_value(name, {"outcome": outcome}) or 0.0

    def send(url: str) -> None:
        spans = EngineSpans.to(url, metrics.spans)
        for _ in range(2):
            spans.export(EngineTrace("1" * 32, 1, recorded=True))
        spans.close()

    with Refusing() as url:
        send(url)
    assert (0, 2) == (count("sent"), count("lost"))
    with Collector() as collector:
        send(collector.url)
    assert (2, 2) == (count("sent"), count("lost"))
    told = f"traces_endpoint: {url} answered 404; its spans are lost"
    assert [told] == [each for each in caplog.messages if url in each]


_WITHOUT = """
import sys
sys.modules['opentelemetry'] = None
from productsearch_service.cli import main
sys.argv[1:] = ['settings', 'check', sys.argv[1]]
sys.exit(main())
"""


def test_without_the_extra(tmp_path: Any) -> None:
    """The service runs without OpenTelemetry; who asks for traces is told what to install."""
    file = tmp_path / "settings.toml"
    library = '[libraries.default]\napi_key = "a"\nsecret_key = "b"\n'
    for line, status in (("", 0), ('traces_endpoint = "http://127.0.0.1:4318/v1/traces"\n', 2)):
        file.write_text(line + library)
        ran = subprocess.run(
            [sys.executable, "-c", _WITHOUT, str(file)], capture_output=True, text=True
        )
        assert status == ran.returncode, ran.stderr
        asks = "traces_endpoint: needs OpenTelemetry: pip install './service[traces]'"
        assert (asks in ran.stdout + ran.stderr) == bool(status)
