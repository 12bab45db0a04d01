"""An upstream that hangs, callers that leave it, a stop meanwhile: each is told as what it is."""

from __future__ import annotations

import logging
import time

import grpc
import pytest

from productsearch import v1
from productsearch_service import limits
from tests.conftest import ServerFactory
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream, Fault
from tests.lifecycle.asking import until
from tests.observability.test_lines import IMAGE, SEARCH, Lines, lines

__all__ = ["lines"]

ADD = v1.AddImageRequest(new_image=v1.NewImage(image=IMAGE, brief="b"))
HANGS = Fault("stall", seconds=5)
Told = tuple[object, ...]


def _posts(server: Server, outcome: str) -> float:
    labels = {"library": "default", "method": "search", "outcome": outcome}
    registry = server.service._counters.registry
    return registry.get_sample_value("productsearch_upstream_calls_total", labels) or 0.0


@pytest.mark.parametrize(
    ("fault", "outcome"), [(HANGS, "TIMEOUT"), (Fault("close"), "UNREACHABLE")]
)
def test_one_that_hangs_is_told_from_one_that_is_gone(
    fault: Fault,
    outcome: str,
    server: ServerFactory,
    upstream: FakeUpstream,
    lines: Lines,
) -> None:
    """In the line and in the metric, though callers are told the same."""
    upstream.always("search", fault)
    facade = server()
    with v1.connect(f"127.0.0.1:{facade.port}") as channel, pytest.raises(grpc.RpcError):
        v1.ProductSearchStub(channel).SearchImages(SEARCH, timeout=1)
    line = lines.last()
    assert ("UPSTREAM_UNAVAILABLE", outcome) == (line["reason"], line["upstream_outcome"])
    assert _posts(facade, outcome) >= 1
    assert 0 == _posts(facade, {"TIMEOUT": "UNREACHABLE"}.get(outcome, "TIMEOUT"))


def test_silence_has_a_line_and_so_has_its_end(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    server: ServerFactory,
    upstream: FakeUpstream,
) -> None:
    """Callers' deadlines open no breaker; that nobody at all is answered is told once."""
    monkeypatch.setattr(limits, "SILENT_S", 0.5)
    caplog.set_level(logging.INFO)

    def told() -> list[str]:
        return [
            record.levelname
            for record in caplog.records
            if "requests and answers none" in record.message
            or record.message.endswith("the upstream answers again")
        ]

    upstream.always("search", HANGS)
    with v1.connect(f"127.0.0.1:{server().port}") as channel:
        stub = v1.ProductSearchStub(channel)
        for _ in range(limits.SILENT_CALLS - 1):
            with pytest.raises(grpc.RpcError):
                stub.SearchImages(SEARCH, timeout=0.3)
        assert [] == told()
        for _ in range(3):
            with pytest.raises(grpc.RpcError):
                stub.SearchImages(SEARCH, timeout=0.3)
        assert ["WARNING"] == told()
        upstream.always("search", {"log_id": 1, "result": [], "has_more": False})
        stub.SearchImages(SEARCH)
    assert ["WARNING", "INFO"] == told()


@pytest.mark.parametrize("rpc", ["SearchImages", "AddImage"])
def test_the_upstreams_time_is_told_when_the_caller_leaves(
    rpc: str,
    server: ServerFactory,
    upstream: FakeUpstream,
    lines: Lines,
) -> None:
    """It is not the facade's own, whichever task waited for it."""
    upstream.always("search", HANGS)
    upstream.always("add", HANGS)
    with v1.connect(f"127.0.0.1:{server().port}") as channel:
        call = getattr(v1.ProductSearchStub(channel), rpc)
        under_way = call.future(SEARCH if rpc == "SearchImages" else ADD)
        until(lambda: upstream.calls, "the request")
        time.sleep(0.5)
        under_way.cancel()
        line = lines.last()
    assert ("CANCELLED", "CANCELLED") == (line["code"], line["upstream_outcome"])
    assert 400 <= line["upstream_ms"] <= line["ms"]


def test_a_twin_is_told_the_time_that_it_waited(
    server: ServerFactory,
    upstream: FakeUpstream,
    lines: Lines,
) -> None:
    """Two equal searches share a request; who began it may leave, and both lines have its time."""
    upstream.always("search", HANGS)
    with v1.connect(f"127.0.0.1:{server().port}") as channel:
        stub = v1.ProductSearchStub(channel)
        first = stub.SearchImages.future(SEARCH)
        until(lambda: upstream.calls, "the request")
        second = stub.SearchImages.future(SEARCH)
        time.sleep(0.5)
        first.cancel()
        lines.last()
        second.cancel()
        lines.last(2)
    assert 1 == len(upstream.calls)
    assert all(400 <= line["upstream_ms"] <= line["ms"] for line in lines.found)


def test_a_call_that_the_stop_cuts_off_was_not_left_by_its_caller(
    server: ServerFactory,
    upstream: FakeUpstream,
    lines: Lines,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its line says what the caller is told: UNAVAILABLE, or that an add may be stored."""
    upstream.always("search", HANGS)
    upstream.always("add", HANGS)
    facade = server(drain_grace_s=0.3)
    with v1.connect(f"127.0.0.1:{facade.port}") as channel:
        stub = v1.ProductSearchStub(channel)
        calls = (stub.SearchImages.future(SEARCH), stub.AddImage.future(ADD))
        until(lambda: len(upstream.calls) == len(calls), "the requests")
        facade.stop()
        codes = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN]
        assert codes == [call.code() for call in calls]
    assert {
        "SearchImages": ("UNAVAILABLE", "SERVER_DRAINING", "none"),
        "AddImage": ("UNKNOWN", "ADD_OUTCOME_UNKNOWN", "upstream"),
    } == {line["rpc"]: (line["code"], line["reason"], line["blame"]) for line in lines.found}
    assert "2 calls were cut off: the drain grace was over" in caplog.messages
