"""A quota that the upstream alone knows: who asks, who is refused, and a line when that begins."""

from __future__ import annotations

import logging
import time

import grpc
import pytest

from productsearch import v1
from productsearch_service import limits
from tests.conftest import ServerFactory
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream, error
from tests.observability.test_lines import SEARCH


def _slots(server: Server, outcome: str) -> float:
    server.service._counters.batches.carry_out()
    labels = {"library": "default", "caller": "other", "outcome": outcome}
    registry = server.service._counters.registry
    return registry.get_sample_value("productsearch_caller_slots_total", labels) or 0.0


def test_slots_are_those_that_the_upstream_gives_and_refuses(
    server: ServerFactory, upstream: FakeUpstream
) -> None:
    """Each attempt is one: the alerts of quotas read them, whoever keeps the quota."""
    upstream.then("search", *[error(18)] * 2)
    facade = server({"quota_qps": 0})
    with v1.connect(f"127.0.0.1:{facade.port}") as channel:
        v1.ProductSearchStub(channel).SearchImages(SEARCH)
    assert (1, 2) == (_slots(facade, "given"), _slots(facade, "refused"))


def test_a_quota_of_ones_own_is_counted_once(server: ServerFactory, upstream: FakeUpstream) -> None:
    """Where the pacer gives the slots, error 18 is somebody else's use of the key."""
    upstream.then("search", error(18))
    facade = server({"quota_qps": 100})
    with v1.connect(f"127.0.0.1:{facade.port}") as channel:
        v1.ProductSearchStub(channel).SearchImages(SEARCH)
    assert (2, 0) == (_slots(facade, "given"), _slots(facade, "refused"))


def test_error_18_has_a_line_when_it_begins_and_when_it_is_over(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    server: ServerFactory,
    upstream: FakeUpstream,
) -> None:
    """One each, with the library's name, however many calls are refused."""
    monkeypatch.setattr(limits, "THROTTLE_OVER_S", 0.3)
    caplog.set_level(logging.INFO)

    def told() -> list[str]:
        return [each.levelname for each in caplog.records if "(error 18)" in each.message]

    upstream.always("search", error(18))
    with v1.connect(f"127.0.0.1:{server({'quota_qps': 0}).port}") as channel:
        stub = v1.ProductSearchStub(channel)
        for _ in range(2):
            with pytest.raises(grpc.RpcError):
                stub.SearchImages(SEARCH, timeout=1)
        assert ["WARNING"] == told()
        upstream.always("search", {"log_id": 1, "result": [], "has_more": False})
        stub.SearchImages(SEARCH)
        assert ["WARNING"] == told()
        time.sleep(limits.THROTTLE_OVER_S)
        stub.SearchImages(SEARCH)
    assert ["WARNING", "INFO"] == told()
    assert all("library default (" in each for each in caplog.messages if "(error 18)" in each)
