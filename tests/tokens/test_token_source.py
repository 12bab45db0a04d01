"""The token is fetched once, shared, and replaced ahead of its end; on a virtual clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from productsearch_service import limits
from productsearch_service.deadline import Deadline
from productsearch_service.errors import (
    ServiceError,
    UpstreamCredentialsRejected,
    UpstreamUnavailable,
)
from productsearch_service.upstream.token import Issued, TokenSource, TokenState

LIFETIME_S = 2_592_000
THREADS = 200


class Issuer:
    """Issues numbered tokens, or fails, when told; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()
        self.failure: ServiceError | None = None
        self.flown = threading.Condition()

    def __call__(self) -> Issued:
        self.asked += 1
        asked = self.asked
        self.gate.wait(10)
        if self.failure is not None:
            raise self.failure.again()
        return Issued(f"token-{asked}", LIFETIME_S)


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Bench:
    """A source with its issuer and clock, and many callers."""

    def __init__(self) -> None:
        self.issuer, self.clock = Issuer(), Clock()
        self.source = TokenSource(self.issuer, clock=self.clock, chance=lambda low, high: high)

    def herd(self, call: Callable[[], object]) -> list[object]:
        """Call from many threads at once; return results and errors."""
        barrier = threading.Barrier(THREADS)

        def one(_: int) -> object:
            barrier.wait()
            try:
                return call()
            except ServiceError as error:
                return error

        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(one, range(THREADS)))

    def get(self, seconds: float = 10) -> str:
        """Return the token's value."""
        return self.source.get(Deadline.after(seconds)).value

    def settled(self) -> None:
        """Wait until no flight is under way."""
        for thread in threading.enumerate():
            if thread.name == "token":
                thread.join(10)


@pytest.fixture
def bench() -> Bench:
    """Return a fresh source."""
    return Bench()


def test_a_herd_without_a_token_asks_once(bench: Bench) -> None:
    """Many threads, no token: one request, everyone gets its token."""
    assert ["token-1"] * THREADS == bench.herd(bench.get)
    assert 1 == bench.issuer.asked


def test_a_stale_token_is_used_while_one_flight_replaces_it(bench: Bench) -> None:
    """Past its refresh time the token still serves everyone at once; one request is made."""
    bench.get()
    bench.clock.now_s += LIFETIME_S * limits.TOKEN_STALE_TO + 1
    assert TokenState.STALE is bench.source.state
    bench.issuer.gate.clear()
    assert ["token-1"] * THREADS == bench.herd(bench.get)
    bench.issuer.gate.set()
    bench.settled()
    assert ("token-2", 2) == (bench.get(), bench.issuer.asked)
    assert TokenState.FRESH is bench.source.state


def test_a_herd_at_expiry_asks_once(bench: Bench) -> None:
    """Many threads and an expired token: one request."""
    bench.get()
    bench.clock.now_s += LIFETIME_S
    assert TokenState.EXPIRED is bench.source.state
    assert ["token-2"] * THREADS == bench.herd(bench.get)
    assert 2 == bench.issuer.asked


def test_a_thousand_rejections_of_one_generation_cause_one_flight(bench: Bench) -> None:
    """Only a rejection of the current token invalidates it."""
    rejected = bench.source.get(Deadline.after(10))

    def replay() -> str:
        bench.source.reject(rejected)
        return bench.get()

    assert ["token-2"] * THREADS == bench.herd(replay)
    assert 2 == bench.issuer.asked


def test_a_failed_flight_is_shared_and_closes_the_gate(bench: Bench) -> None:
    """All waiters get the one error; the next request waits for the gate, which doubles."""
    bench.issuer.failure = UpstreamUnavailable("down", retry_after_s=1.0)
    assert {"down"} == {str(outcome) for outcome in bench.herd(bench.get)}
    assert 1 == bench.issuer.asked
    for wait_s, asked in ((1.1, 1), (0.2, 2), (2.2, 2), (0.3, 3)):
        bench.clock.now_s += wait_s
        with pytest.raises(UpstreamUnavailable, match="down"):
            bench.get()
        assert asked == bench.issuer.asked


def test_an_issuer_that_is_down_harms_nobody_while_the_token_is_valid(bench: Bench) -> None:
    """A stale token with a dead issuer: no caller sees an error, few requests are made."""
    bench.get()
    bench.clock.now_s += LIFETIME_S * limits.TOKEN_STALE_TO + 1
    bench.issuer.failure = UpstreamUnavailable("down")
    for _ in range(3600):
        assert "token-1" == bench.get()
        bench.settled()
        bench.clock.now_s += 1
    assert bench.issuer.asked <= 3600 / 30
    bench.issuer.failure = None
    bench.clock.now_s += limits.TOKEN_GATE_MAX_S * 2
    bench.get()
    bench.settled()
    assert f"token-{bench.issuer.asked}" == bench.get()


def test_a_rejected_key_pair_is_not_tried_again_for_five_minutes(bench: Bench) -> None:
    """invalid_client is hopeless: one request in five minutes."""
    bench.issuer.failure = UpstreamCredentialsRejected("no such client")
    for _ in range(290):
        with pytest.raises(UpstreamCredentialsRejected):
            bench.get()
        bench.clock.now_s += 1
    assert 1 == bench.issuer.asked


def test_nobody_waits_past_the_deadline(bench: Bench) -> None:
    """A caller with 50 ms left gets a typed error, the flight goes on for the others."""
    bench.issuer.gate.clear()
    with pytest.raises(UpstreamUnavailable, match="in time"):
        bench.get(0.05)
    bench.issuer.gate.set()
    bench.settled()
    assert ("token-1", 1) == (bench.get(), bench.issuer.asked)


def test_the_token_just_rejected_is_refused_when_issued_again() -> None:
    """An issuer that hands out the rejected token again has given none."""
    source = TokenSource(lambda: Issued("same", LIFETIME_S))
    source.reject(source.get(Deadline.after(5)))
    with pytest.raises(UpstreamUnavailable, match="rejected token again"):
        source.get(Deadline.after(5))


def test_secrets_do_not_show_in_reprs(bench: Bench) -> None:
    """Neither a token nor what issued it prints its value."""
    token = bench.source.get(Deadline.after(5))
    assert "token-1" not in repr(token) + repr(Issued("token-1", 5)) + repr(bench.source)
