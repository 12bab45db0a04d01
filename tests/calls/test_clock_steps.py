"""The wall clock is set by hours and by a month, both ways, while a facade is at work."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from tests.calls.conftest import WatchedFactory
from tests.calls.watching import late, outcome, search, until
from tests.fakes.upstream import FakeUpstream, search_answer

HOUR_S, MONTH_S = 3600, 31 * 24 * 3600
STEPS_S = (HOUR_S, -HOUR_S, MONTH_S, -MONTH_S, 12 * HOUR_S, 0)


class _Clock:
    """Stands for Python's ``time`` in the service; its wall clock is off by ``off_s``."""

    def __init__(self) -> None:
        self.off_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def time(self) -> float:
        """Return the seconds since 1970 by a clock that was set."""
        return time.time() + self.off_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    """Return the clock of all modules of the service; callers and gRPC have the real one."""
    clock = _Clock()
    for name, module in list(sys.modules.items()):
        if name.startswith("productsearch_service") and vars(module).get("time") is time:
            monkeypatch.setattr(module, "time", clock)
    return clock


def test_steps_of_the_wall_clock_change_nothing(
    watched: WatchedFactory, upstream: FakeUpstream, clock: _Clock
) -> None:
    """One token serves all along, cached pages stay, the pacer gives slots, calls are answered."""
    facade = watched(search_cache_ttl_s=300, quota_qps=50)
    cached = search(0)
    assert "OK" == outcome(facade.stub.SearchImages.future(cached, timeout=20))
    asked = len(upstream.calls)
    for number, step_s in enumerate(STEPS_S, start=1):
        clock.off_s = step_s
        assert "OK" == outcome(facade.stub.SearchImages.future(cached, timeout=20))
        assert asked == len(upstream.calls)
        assert "OK" == outcome(facade.stub.SearchImages.future(search(number), timeout=20))
        asked += 1
        assert asked == len(upstream.calls)
        assert 200 == facade.readyz()
    assert 1 == len([each for each in upstream.received if each.method == "token"])


def test_pauses_of_the_breaker_are_as_long_as_they_are(
    watched: WatchedFactory, upstream: FakeUpstream, clock: _Clock
) -> None:
    """A step forward does not end one, a step back does not lengthen it."""
    facade = watched(breaker_failures=2, breaker_open_s=2.0)
    for step_s in (-MONTH_S, MONTH_S):
        upstream.always("search", {"error_code": 2, "error_msg": "down"})
        until(lambda: outcome(facade.stub.SearchImages.future(search(1))) != "OK")
        until(lambda: facade.metric("breaker_open") == 1)
        asked = len(upstream.calls)
        clock.off_s = step_s
        refused = facade.stub.SearchImages.future(search(2), timeout=20)
        assert "UPSTREAM_UNAVAILABLE" == outcome(refused)
        assert asked == len(upstream.calls)
        upstream.always("search", {"log_id": 7, "result": [], "has_more": False})
        until(lambda: outcome(facade.stub.SearchImages.future(search(3), timeout=20)) == "OK")


def test_deadlines_end_when_they_should(
    watched: WatchedFactory, upstream: FakeUpstream, clock: _Clock
) -> None:
    """A call that is under way when the clock is set has its own time, neither more nor less."""
    facade = watched()
    for step_s in (MONTH_S, -MONTH_S):
        upstream.then("search", late(1, search_answer()))
        call = facade.stub.SearchImages.future(search(abs(step_s) + (step_s < 0)), timeout=10)
        until(lambda: facade.in_flight() == 1)
        clock.off_s = step_s
        assert "OK" == outcome(call)
