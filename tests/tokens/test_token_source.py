"""The token is fetched once, shared, and replaced ahead of its end; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from productsearch_service import limits
from productsearch_service.call_context import Deadline
from productsearch_service.errors import (
    DeadlineTooShort,
    ServiceError,
    UpstreamCredentialsRejected,
    UpstreamUnavailable,
)
from productsearch_service.upstream.auth.token import Issued, Token, TokenSource, TokenState
from tests.tokens.stage import Stage, staged

LIFETIME_S = 2_592_000
CALLERS = 1000


class Issuer:
    """Issues numbered tokens after ``answer_s``, or fails, when told; counts how often."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer_s = 0.1
        self.failure: ServiceError | None = None

    async def __call__(self) -> Issued:
        self.asked += 1
        asked = self.asked
        await asyncio.sleep(self.answer_s)
        if self.failure is not None:
            raise self.failure.copy()
        return Issued(f"token-{asked}", LIFETIME_S)


class Bench:
    """A source with its issuer, on a stage, and many callers."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.issuer = Issuer()
        self.outcomes: list[str] = []
        self.source = TokenSource(
            self.issuer,
            count=self.outcomes.append,
            clock=stage.clock,
            chance=lambda low, high: high,
        )

    def herd(self, call: Callable[[], Awaitable[object]]) -> list[object]:
        """Call from many tasks at once; return results and errors."""

        async def together() -> list[object]:
            return await asyncio.gather(*(call() for _ in range(CALLERS)), return_exceptions=True)

        return self.stage.run(together())

    async def value(self) -> str:
        """Return the token's value."""
        return (await self.source.get(Deadline.after(10))).value

    def get(self) -> str:
        """Run until there is a token, and return its value."""
        return self.stage.run(self.value())

    def at_once(self) -> Token:
        """Return the token that ``get`` returns without a task switch."""
        getting = self.source.get(Deadline.after(10))
        try:
            getting.send(None)
        except StopIteration as returned:
            token: Token = returned.value
            return token
        finally:
            getting.close()
        raise AssertionError("get waited")

    def become(self, state: TokenState) -> None:
        """Let time pass until the token is in that state."""
        part = limits.TOKEN_STALE_TO if state is TokenState.STALE else 1
        self.stage.pass_time(LIFETIME_S * part + 1)
        assert state is self.source.state


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a fresh source."""
    with staged() as stage:
        yield Bench(stage)


def test_a_herd_without_a_token_asks_once(bench: Bench) -> None:
    """1,000 waiters, no token: they share one flight, everyone gets its token."""
    assert ["token-1"] * CALLERS == bench.herd(bench.value)
    assert 1 == bench.issuer.asked


def test_a_stale_token_is_used_while_one_flight_replaces_it(bench: Bench) -> None:
    """Past its refresh time the token still serves everyone immediately; one request is made."""
    bench.get()
    bench.become(TokenState.STALE)
    before_s = bench.stage.now_s
    assert ["token-1"] * CALLERS == bench.herd(bench.value)
    assert before_s == bench.stage.now_s
    bench.stage.pass_time(1)
    assert ("token-2", 2) == (bench.get(), bench.issuer.asked)
    assert TokenState.FRESH is bench.source.state


def test_a_valid_token_is_returned_without_a_task_switch(bench: Bench) -> None:
    """Fresh, or stale with a refresh that hangs: ``get`` awaits nothing."""
    bench.get()
    assert "token-1" == bench.at_once().value
    bench.become(TokenState.STALE)
    bench.issuer.answer_s = 3600
    bench.herd(bench.value)

    async def stale() -> str:
        return bench.at_once().value

    assert "token-1" == bench.stage.run(stale())
    assert 2 == bench.issuer.asked


def test_a_herd_at_expiry_asks_once(bench: Bench) -> None:
    """Many callers and an expired token: one request."""
    bench.get()
    bench.become(TokenState.EXPIRED)
    assert ["token-2"] * CALLERS == bench.herd(bench.value)
    assert 2 == bench.issuer.asked


def test_a_thousand_rejections_of_one_generation_cause_one_flight(bench: Bench) -> None:
    """Only a rejection of the current token invalidates it."""
    rejected = bench.stage.run(bench.source.get(Deadline.after(10)))

    async def replay() -> str:
        bench.source.reject(rejected)
        return await bench.value()

    assert ["token-2"] * CALLERS == bench.herd(replay)
    assert 2 == bench.issuer.asked


def test_a_failed_flight_is_shared_and_closes_the_gate(bench: Bench) -> None:
    """All waiters get the one error; the next request waits for the gate, which doubles."""
    bench.issuer.answer_s = 0
    bench.issuer.failure = UpstreamUnavailable("down", retry_after_s=1.0)
    errors = bench.herd(bench.value)
    assert {"down"} == {str(error) for error in errors}
    assert CALLERS == len({id(error) for error in errors})  # each has a traceback of its own
    assert 1 == bench.issuer.asked
    for wait_s, asked in ((1.1, 1), (0.2, 2), (2.2, 2), (0.3, 3)):
        bench.stage.pass_time(wait_s)
        with pytest.raises(UpstreamUnavailable, match="down"):
            bench.get()
        assert asked == bench.issuer.asked


def test_an_issuer_that_is_down_harms_nobody_while_the_token_is_valid(bench: Bench) -> None:
    """A stale token with a dead issuer: no caller sees an error, few requests are made."""
    bench.get()
    bench.become(TokenState.STALE)
    bench.issuer.failure = UpstreamUnavailable("down")
    for _ in range(3600):
        assert "token-1" == bench.get()
        bench.stage.pass_time(1)
    assert bench.issuer.asked <= 3600 / 30
    bench.issuer.failure = None
    bench.stage.pass_time(limits.TOKEN_GATE_MAX_S * 2)
    bench.get()
    bench.stage.pass_time(1)
    assert f"token-{bench.issuer.asked}" == bench.get()


def test_a_rejected_key_pair_is_not_tried_again_for_five_minutes(bench: Bench) -> None:
    """invalid_client is hopeless: one request in five minutes."""
    bench.issuer.failure = UpstreamCredentialsRejected("no such client")
    for _ in range(290):
        with pytest.raises(UpstreamCredentialsRejected):
            bench.get()
        bench.stage.pass_time(1)
    assert 1 == bench.issuer.asked


@pytest.mark.parametrize(("patience_s", "waited_s"), [(0.05, 0.05), (4.9, 4.9), (30, 5.0)])
def test_nobody_waits_past_the_deadline(patience_s: float, waited_s: float, bench: Bench) -> None:
    """A waiter gets a typed error at min(deadline, 5 s); the flight goes on for the others."""
    bench.issuer.answer_s = 8
    began_s = bench.stage.now_s
    error = DeadlineTooShort if patience_s < 1 else UpstreamUnavailable
    with pytest.raises(error, match=r"at least 1 s|in time"):
        bench.stage.run(bench.source.get(Deadline.after(patience_s)))
    assert waited_s == pytest.approx(bench.stage.now_s - began_s, abs=1e-6)
    bench.stage.pass_time(8)
    assert ("token-1", 1) == (bench.get(), bench.issuer.asked)


def test_prepare_begins_a_flight_and_does_not_wait(bench: Bench) -> None:
    """Readiness fetches the first token, and a stale one's successor, before a caller asks."""
    for number, state in enumerate((TokenState.STALE, TokenState.EXPIRED, None), 1):
        bench.stage.loop.call_soon(bench.source.prepare)
        bench.stage.pass_time(1)
        assert f"token-{number}" == bench.at_once().value
        if state is not None:
            bench.become(state)
    bench.stage.loop.call_soon(bench.source.prepare)
    bench.stage.pass_time(1)
    assert 3 == bench.issuer.asked


def test_each_flight_is_counted_once_by_its_outcome(bench: Bench) -> None:
    """``ok`` or the reason of the error, however many waited; an unforeseen error has one, too."""
    bench.herd(bench.value)
    for failure in (UpstreamUnavailable("down"), UpstreamCredentialsRejected("no"), None):
        bench.become(TokenState.EXPIRED)
        bench.issuer.failure = failure
        bench.herd(bench.value)
    assert ["ok", "UPSTREAM_UNAVAILABLE", "UPSTREAM_CREDENTIALS_REJECTED", "ok"] == bench.outcomes


def test_stats_tell_state_and_age(bench: Bench) -> None:
    """Without a token there is no age; an expired one is not usable."""
    assert ("expired", False, None) == _stats(bench)
    bench.get()
    assert ("fresh", True, 0) == _stats(bench)
    bench.become(TokenState.EXPIRED)
    assert ("expired", False, LIFETIME_S + 1) == _stats(bench)


def _stats(bench: Bench) -> tuple[str, bool, float | None]:
    stats = bench.source.stats
    return stats.state, stats.usable, stats.age_s


def test_the_token_just_rejected_is_refused_when_issued_again(bench: Bench) -> None:
    """An issuer that hands out the rejected token again has given none."""

    async def same() -> Issued:
        return Issued("same", LIFETIME_S)

    source = TokenSource(same)
    source.reject(bench.stage.run(source.get(Deadline.after(5))))
    with pytest.raises(UpstreamUnavailable, match="rejected token again"):
        bench.stage.run(source.get(Deadline.after(5)))


def test_secrets_do_not_show_in_reprs(bench: Bench) -> None:
    """Neither a token nor what issued it prints its value."""
    token = bench.stage.run(bench.source.get(Deadline.after(5)))
    assert "token-1" not in repr(token) + repr(Issued("token-1", 5)) + repr(bench.source)


def test_a_refusal_says_when_the_next_request_is_made() -> None:
    """While the gate is closed, RetryInfo is the time until it opens: less would be in vain."""

    async def fail() -> Issued:
        raise UpstreamUnavailable("down", retry_after_s=1.0)

    async def play() -> list[float | None]:
        now_s, told = 1000.0, []
        source = TokenSource(fail, clock=lambda: now_s, chance=lambda _, high: high)
        for _ in range(8):
            with pytest.raises(UpstreamUnavailable):
                await source.get(Deadline.after(5))
            with pytest.raises(UpstreamUnavailable) as refused:
                await source.get(Deadline.after(5))
            told.append(refused.value.retry_after_s)
            now_s += limits.TOKEN_GATE_MAX_S
        return told

    most_s = limits.TOKEN_GATE_MAX_S
    expected = [min(limits.TOKEN_GATE_FIRST_S * 2**n * 1.2, most_s) for n in range(8)]
    assert pytest.approx(expected) == asyncio.run(play())
