"""When the circuit breaker opens, for whom, and what it finds out by probes; in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from productsearch_service.call_context import Deadline
from productsearch_service.errors import QuotaExhausted, ServiceError, UpstreamUnavailable
from productsearch_service.upstream.pacing.circuit_breaker import CircuitBreaker, Probe
from productsearch_service.upstream.pacing.doubts import Suspect
from tests.tokens.stage import Stage, staged

FAILURES = 5
OPEN_S, OPEN_MAX_S = 1.0, 5.0
DOWN = UpstreamUnavailable("the upstream is down", retry_after_s=1.0)


class Bench:
    """A breaker on a stage."""

    def __init__(self, stage: Stage, *, failures_max: int = FAILURES, tells: bool = True) -> None:
        self.stage = stage
        self.breaker = CircuitBreaker(
            failures_max=failures_max,
            open_s=OPEN_S,
            open_max_s=OPEN_MAX_S,
            tells_when=tells,
            clock=stage.clock,
            chance=lambda _, high: high,
        )

    def admit(self, caller: str = "a") -> Probe | None:
        """Return what a call gets that comes now; raises its refusal."""
        return self.stage.run(self.breaker.admit(caller, Deadline.after(30)))

    def refused(self, caller: str = "a") -> ServiceError | None:
        """Return the refusal of a call that comes now; a probe is given back."""
        try:
            self.breaker.ended(self.admit(caller))
        except ServiceError as refusal:
            return refusal
        return None

    def poison(self, number: int, caller: str, probe: Probe | None = None) -> None:
        """Let a call fail whose input may be the reason."""
        suspect = Suspect(number, self.stage.now_s, answered=True)
        self.breaker.failed(DOWN, caller, probe, suspect)

    def open(self) -> None:
        """Let calls fail that no input can be the reason of."""
        for _ in range(FAILURES):
            self.breaker.failed(DOWN, "a", None)
        assert self.breaker.is_open


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a closed breaker."""
    with staged() as stage:
        yield Bench(stage)


@settings(deadline=None, max_examples=30)
@given(
    poisoners=st.integers(1, 10),
    share=st.sampled_from([0.01, 0.1, 0.5, 0.9]),
    others=st.integers(1, 5),
    lucky=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 2**32),
)
def test_poison_harms_nobody_else(
    poisoners: int, share: float, others: int, lucky: float, seed: int
) -> None:
    """Up to ten callers whose inputs all fail, or most, at up to 90 % of 100 calls a second."""
    chance = random.Random(seed)
    with staged() as stage:
        bench = Bench(stage)
        for number in range(1000):
            stage.pass_time(0.01)
            if chance.random() < share:
                caller = f"poisoner {chance.randrange(poisoners)}"
                if bench.refused(caller) is None and chance.random() >= lucky:
                    bench.poison(number, caller)
                    continue
            else:
                caller = f"other {chance.randrange(others)}"
                assert bench.refused(caller) is None
            bench.breaker.answered(caller)
            assert not bench.breaker.is_open


@settings(deadline=None, max_examples=30)
@given(
    callers=st.integers(1, 10),
    per_s=st.sampled_from([2, 20, 200]),
    answered=st.booleans(),
    cold=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_an_outage_opens_it_within_5_s(
    callers: int, per_s: int, answered: bool, cold: bool, seed: int
) -> None:
    """Everything fails from one moment on, for one caller or ten, who were served or not."""
    chance = random.Random(seed)
    with staged() as stage:
        bench = Bench(stage)
        if not cold:
            for caller in range(callers):
                bench.breaker.answered(f"{caller}")
        began_s = stage.now_s
        for number in range(10 * per_s):
            stage.pass_time(1 / per_s)
            suspect = Suspect(number, stage.now_s, answered)
            bench.breaker.failed(DOWN, f"{chance.randrange(callers)}", None, suspect)
            if bench.breaker.is_open:
                break
        assert bench.breaker.is_open
        assert stage.now_s - began_s <= 5


def test_one_input_opens_nothing(bench: Bench) -> None:
    """The same input fails for a minute: that is the input's fault, whoever sends it."""
    for number in range(600):
        bench.poison(7, f"{number % 3}")
        bench.stage.pass_time(0.1)
    assert not bench.breaker.is_open


def test_a_newcomer_is_not_kept_away_by_what_others_send(bench: Bench) -> None:
    """A lone poisoner has opened it; somebody else's first call passes, and closes it."""
    number = 0
    while not bench.breaker.is_open:
        bench.poison(number := number + 1, "poisoner")
        bench.stage.pass_time(0.1)
    assert bench.refused("poisoner") is not None
    assert bench.refused("newcomer") is None
    bench.breaker.answered("newcomer")
    assert bench.refused("poisoner") is None


def test_a_poisoner_cannot_keep_it_open_with_the_probe(bench: Bench) -> None:
    """After a real outage the probe fails by its input: others find out for themselves."""
    bench.open()
    bench.stage.pass_time(OPEN_S)
    probe = bench.admit("poisoner")
    assert probe is not None
    bench.poison(1, "poisoner", probe)
    bench.breaker.ended(probe)
    assert bench.refused("poisoner") is not None
    assert bench.refused("other") is None
    bench.breaker.answered("other")
    assert not bench.breaker.is_open


def test_the_first_probes_success_serves_everyone_at_once(bench: Bench) -> None:
    """120 calls come while it is half-open: one goes out, and the rest when that is answered."""
    bench.open()
    bench.stage.pass_time(OPEN_S)
    sent: list[float] = []

    async def call() -> None:
        probe = await bench.breaker.admit("a", Deadline.after(10))
        sent.append(bench.stage.now_s)
        await asyncio.sleep(0.2)
        bench.breaker.answered("a")
        bench.breaker.ended(probe)

    async def together() -> None:
        await asyncio.gather(*(call() for _ in range(120)))

    began_s = bench.stage.now_s
    bench.stage.run(together())
    assert {began_s: 1, began_s + 0.2: 119} == dict(Counter(sent))


def test_a_probe_that_fails_refuses_those_who_waited(bench: Bench) -> None:
    """They are told when it failed, and when the next one goes out."""
    bench.open()
    bench.stage.pass_time(OPEN_S)
    probe = bench.admit()
    waits = bench.stage.enter(bench.breaker.admit("b", Deadline.after(10)))
    bench.stage.pass_time(0.5)
    assert not waits.done()
    bench.breaker.failed(DOWN, "a", probe)
    bench.breaker.ended(probe)
    bench.stage.settle()
    refusal = waits.exception()
    assert isinstance(refusal, UpstreamUnavailable)
    assert 2 * OPEN_S == refusal.retry_after_s
    assert "this call was not sent" in refusal.message


def test_nobody_waits_long_for_a_probe(bench: Bench) -> None:
    """A probe that hangs holds nobody for more than a second, and the right to be one for 5 s."""
    bench.open()
    bench.stage.pass_time(OPEN_S)
    hangs = bench.admit()
    began_s = bench.stage.now_s
    refusal = bench.refused("b")
    assert began_s + 1 == pytest.approx(bench.stage.now_s)
    assert refusal is not None
    bench.stage.pass_time(refusal.retry_after_s or 0)
    second = bench.admit("b")
    assert second is not None
    assert second is not hangs
    bench.breaker.ended(hangs)
    assert not bench.breaker.probe_due, "the one that hung has given away another one's"


def test_a_probe_that_never_goes_out_is_the_next_calls(bench: Bench) -> None:
    """Given back without an outcome: who waits for it is the next probe, without a pause."""
    bench.open()
    bench.stage.pass_time(OPEN_S)
    probe = bench.admit()
    waits = bench.stage.enter(bench.breaker.admit("b", Deadline.after(10)))
    bench.stage.settle()
    bench.breaker.ended(probe)
    bench.stage.settle()
    assert waits.result() is not None


def test_only_a_probes_own_failure_lengthens_the_pause() -> None:
    """Eight calls that find the quota used up are one pause; so are late failures in a probe's."""
    with staged() as stage:
        bench = Bench(stage, failures_max=1, tells=False)
        used_up = QuotaExhausted("the quota of this day is used up")
        for _ in range(8):
            bench.breaker.failed(used_up, "a", None)
        stage.pass_time(OPEN_S * 0.99)
        refusal = bench.refused()
        assert refusal is not None
        assert refusal.retry_after_s is None
        stage.pass_time(OPEN_S * 0.02)
        probe = bench.admit()
        for each in (None, probe, None):
            bench.breaker.failed(used_up, "a", each)
        bench.breaker.ended(probe)
        stage.pass_time(2 * OPEN_S * 0.99)
        assert bench.refused() is not None
        stage.pass_time(2 * OPEN_S * 0.02)
        assert bench.refused() is None


@settings(deadline=None, max_examples=50)
@given(failed_probes=st.integers(0, 5), later=st.floats(0, 20), by_input=st.booleans())
def test_a_refusal_says_when_a_call_passes(
    failed_probes: int, later: float, by_input: bool
) -> None:
    """After exactly the time that is told, the same call is not refused again; it is never 0."""
    with staged() as stage:
        bench = Bench(stage)
        if by_input:
            for number in range(60):
                bench.poison(number, "a")
                stage.pass_time(0.1)
        else:
            bench.open()
        for number in range(failed_probes):
            stage.pass_time(bench.breaker.wait_s("a"))
            probe = bench.admit()
            if by_input:
                bench.poison(100 + number, "a", probe)
            else:
                bench.breaker.failed(DOWN, "a", probe)
            bench.breaker.ended(probe)
        stage.pass_time(later % OPEN_MAX_S)
        refusal = bench.refused()
        if refusal is not None:
            assert refusal.retry_after_s
            stage.pass_time(refusal.retry_after_s)
            assert bench.refused() is None


def test_what_it_keeps_is_bounded(bench: Bench) -> None:
    """A hundred thousand callers whose calls fail, and as many who are answered."""
    for number in range(100_000):
        bench.poison(number, f"caller {number}")
        if number % 1000 == 0:
            bench.stage.pass_time(0.1)
    assert bench.breaker.is_open
    assert len(bench.breaker._pauses) <= 1024
    for number in range(100_000):
        bench.breaker.answered(f"caller {number}")
    assert len(bench.breaker._doubts._served) <= 64
