"""The circuit breaker learns from the upstream's failures, and from nothing that callers do."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import pytest

from productsearch_service import limits
from tests.calls.conftest import WatchedFactory
from tests.calls.watching import Held, Watched, forwarded_for, late, outcome, search, until
from tests.fakes.upstream import FakeUpstream, Fault, error, search_answer

LATENCY_S = 0.3
CALLERS = limits.BREAKER_FAILURES + 1
ANSWER = search_answer()
DOWN = "UPSTREAM_UNAVAILABLE"


def _burst(
    facade: Watched, library: str = "", timeout: float = 10, caller: str = "shop"
) -> list[Any]:
    """Begin more calls at once than the breaker needs failures."""
    told = {"timeout": timeout, "metadata": forwarded_for(caller)}
    searches = [search(number, library) for number in range(CALLERS)]
    return [facade.stub.SearchImages.future(each, **told) for each in searches]


def test_short_deadlines_open_no_breaker(watched: WatchedFactory, upstream: FakeUpstream) -> None:
    """For each deadline from 0.1 s to twice the upstream's latency, six callers with it at once.

    Each deadline has a library of its own: a success elsewhere would hide the failures.
    """
    upstream.always("search", late(LATENCY_S, ANSWER))
    deadlines_s = [0.1 + tenth * (2 * LATENCY_S - 0.1) / 9 for tenth in range(10)]
    libraries: dict[str, dict[str, Any]] = {f"d{number}": {} for number in range(10)}
    facade = watched(libraries)
    calls = {
        name: _burst(facade, name, deadline_s)
        for name, deadline_s in zip(libraries, deadlines_s, strict=True)
    }
    outcomes = {name: {outcome(call) for call in of_one} for name, of_one in calls.items()}
    until(lambda: facade.in_flight() == 0)
    assert "OK" not in outcomes["d0"] | outcomes["d1"]
    assert {} == facade.by_label("breaker_open", "library")
    assert libraries.keys() == facade.by_label("library_ready", "library").keys()
    assert 200 == facade.readyz()
    patient = [facade.stub.SearchImages.future(search(99, name)) for name in libraries]
    assert {"OK"} == {outcome(call) for call in patient}


def test_an_outage_opens_it(watched: WatchedFactory) -> None:
    """Refused, HTTP 5xx, resets, error codes, no answer within the read limit: not ready.

    Callers have more time than the upstream may take, so each failure is the upstream's. What may
    be one caller's doing takes the readiness only once a second caller has seen it.
    """
    answers = {
        "refused": ANSWER,
        "http": Fault(status=503),
        "reset": Fault("reset"),
        "code": error(2),
        "slow": late(1, ANSWER),
    }
    with ExitStack() as fakes:
        upstreams = {name: fakes.enter_context(FakeUpstream()) for name in answers}
        for name, answer in answers.items():
            upstreams[name].always("search", answer)
        libraries = {name: {"base_url": each.url} for name, each in upstreams.items()}
        facade = watched(libraries, read_timeout_s=0.2, breaker_open_s=30, breaker_open_max_s=30)
        upstreams["refused"].__exit__()
        for caller in ("shop", "jobs"):
            calls = {name: _burst(facade, name, caller=caller) for name in libraries}
            for name, of_one in calls.items():
                assert {DOWN} == {outcome(call) for call in of_one}, name
        assert dict.fromkeys(libraries, 1) == facade.by_label("breaker_open", "library")
        until(lambda: facade.readyz() == 503)


def _open(facade: Watched, upstream: FakeUpstream) -> None:
    upstream.always("search", error(2))
    assert {DOWN} == {outcome(call) for call in _burst(facade)}
    assert 1 == facade.metric("breaker_open")


def _half_open(facade: Watched) -> None:
    until(lambda: facade.metric("library_ready") == 1)
    assert 1 == facade.metric("breaker_open")


@pytest.mark.parametrize("ends", ["cancelled", "at its deadline"])
def test_a_probe_whose_caller_leaves_is_the_next_calls(
    watched: WatchedFactory, upstream: FakeUpstream, ends: str
) -> None:
    """The probe's call ends without an answer: the next call is the probe, at once."""
    facade = watched(attempts_max=1, breaker_open_s=0.4, breaker_open_max_s=0.4)
    _open(facade, upstream)
    held = Held(ANSWER)
    upstream.always("search", held)
    _half_open(facade)
    timeout = 20 if ends == "cancelled" else 0.3
    probe = facade.stub.SearchImages.future(search(50), timeout=timeout)
    until(lambda: held.arrived == 1)
    if ends == "cancelled":
        assert DOWN == outcome(facade.stub.SearchImages.future(search(51)))
        probe.cancel()
    until(lambda: facade.in_flight() == 0)
    upstream.always("search", ANSWER)
    assert "OK" == outcome(facade.stub.SearchImages.future(search(52)))
    assert 0 == facade.metric("breaker_open")


def test_a_probe_that_never_goes_out_is_the_next_calls(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """Calls that the pacer refuses, or that are cancelled in its queue, take nobody's probe."""
    facade = watched(quota_qps=4, attempts_max=1, breaker_open_s=1, breaker_open_max_s=1)
    upstream.always("search", late(0.2, search_answer()))
    assert ["OK"] * 3 == [outcome(facade.stub.SearchImages.future(search(n))) for n in (90, 91, 92)]
    upstream.always("search", late(0.1, error(2)))
    assert {DOWN} == {outcome(call) for call in _burst(facade)}
    assert 1 == facade.metric("breaker_open")
    sent = len(upstream.calls)
    _half_open(facade)
    short = facade.stub.SearchImages.future(search(50), timeout=0.25)
    assert "DEADLINE_TOO_SHORT" == outcome(short)
    upstream.always("search", ANSWER)
    assert "OK" == outcome(facade.stub.SearchImages.future(search(52)))
    assert sent + 1 == len(upstream.calls)
    assert 0 == facade.metric("breaker_open")


def test_eight_seventeens_at_once_are_one(
    watched: WatchedFactory, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight calls that find the day's quota used up put the first probe after the first pause."""
    first_s = 1.0
    monkeypatch.setattr(limits, "EXHAUSTED_FIRST_S", first_s)
    held = Held(error(17))
    upstream.always("search", held)
    facade = watched()
    calls = [facade.stub.SearchImages.future(search(number)) for number in range(8)]
    until(lambda: held.arrived == 8)
    began_s = time.monotonic()
    held.release()
    assert {"QUOTA_EXHAUSTED"} == {outcome(call) for call in calls}
    assert 1 == facade.metric("quota_exhausted")
    assert 200 == facade.readyz()
    upstream.always("search", ANSWER)

    def answered() -> bool:
        return outcome(facade.stub.SearchImages.future(search(50))) == "OK"

    assert not answered()
    assert 8 == len(upstream.calls)
    until(answered)
    assert 0.8 * first_s <= time.monotonic() - began_s <= 1.9 * first_s
    assert 0 == facade.metric("quota_exhausted")
