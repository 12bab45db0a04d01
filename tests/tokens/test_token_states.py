"""The token source under every order of events that hypothesis can think of, in virtual time.

The source runs unchanged. Its threads, lock and events are a stage's: one actor runs at a time,
is halted before each lock, and only moves on when a rule says so; time passes when a rule says
so and nobody has anything left to do. So each run is the same each time, and a wait that is one
millisecond too long is one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from productsearch_service import deadline as deadline_module
from productsearch_service import limits
from productsearch_service.deadline import Deadline
from productsearch_service.errors import (
    ServiceError,
    UpstreamCredentialsRejected,
    UpstreamUnavailable,
)
from productsearch_service.upstream import token as token_module
from productsearch_service.upstream.credentials import KeyPair
from productsearch_service.upstream.issuer import TokenIssuer
from productsearch_service.upstream.token import Issued, Token, TokenSource
from productsearch_service.upstream.transport import Transport
from tests.fakes.upstream import FakeUpstream, Fault, Received

LIFETIME_S: Final = 2_592_000
_STEPS_MAX: Final = 10_000
_JITTER_LEAST: Final = 0.8
_ROUNDING_S: Final = 1e-6


class _Over(BaseException):
    """The run is over: whoever still waits ends."""


@dataclass(eq=False)
class Actor:
    """A thread that runs when it is given the baton."""

    name: str
    state: str = "ready"  # ready, waiting, locked out, asking, done
    until_s: float = 0.0
    awaited: object = None
    waits: int = 0
    overtaken: bool = False
    outcome: Any = None
    error: BaseException | None = None
    afterwards: Callable[[], None] | None = None
    baton: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


class Stage:
    """Threads one at a time, and a clock that stands still while they run."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.actors: list[Actor] = []
        self._own = threading.local()
        self._halted = threading.Semaphore(0)
        self._over = False

    def clock(self) -> float:
        """Return the virtual time."""
        return self.now_s

    @property
    def actor(self) -> Actor | None:
        """Who runs this; None: the rules."""
        return getattr(self._own, "actor", None)

    def among(self, state: str) -> list[Actor]:
        """Return the actors in that state, the oldest first."""
        return [actor for actor in self.actors if actor.state == state]

    def enter(
        self, name: str, target: Callable[[], object], afterwards: Callable[[], None] | None = None
    ) -> Actor:
        """Add an actor that is ready to run ``target``; then ``afterwards`` at once."""
        actor = Actor(name, afterwards=afterwards)

        def play() -> None:
            self._own.actor = actor
            actor.baton.acquire()
            try:
                if not self._over:
                    target()
            except _Over:
                pass
            except BaseException as error:  # noqa: BLE001 - raised again where the rules run
                actor.error = error
            actor.state = "done"
            self._halted.release()

        self.actors.append(actor)
        threading.Thread(target=play, daemon=True).start()
        return actor

    def run(self, actor: Actor) -> None:
        """Let a ready actor run until it halts."""
        actor.baton.release()
        self._halted.acquire()
        if actor.error is not None:
            raise actor.error
        if actor.state == "done":
            self.actors.remove(actor)
            if actor.afterwards is not None:
                actor.afterwards()

    def run_through(self, actor: Actor) -> None:
        """Let a ready actor run as far as it can, before all others."""
        while actor.state == "ready":
            self.run(actor)

    def halt(self, state: str, until_s: float = 0.0, awaited: object = None) -> None:
        """Halt the actor that runs this until it is ready and chosen."""
        actor = self.actor
        if actor is None:
            raise AssertionError("the rules themselves would have to wait")
        actor.state, actor.until_s, actor.awaited = state, until_s, awaited
        actor.waits += state == "waiting"
        self._halted.release()
        actor.baton.acquire()
        if self._over:
            raise _Over

    def wake(self, awaited: object) -> None:
        """Make ready whoever waits for that."""
        for actor in self.actors:
            if actor.awaited is awaited and actor.state in ("waiting", "locked out"):
                actor.state = "ready"

    def settle(self, newest_first: bool = False) -> None:
        """Run until nobody has anything left to do."""
        for _ in range(_STEPS_MAX):
            ready = self.among("ready")
            if not ready:
                return
            self.run(ready[-1 if newest_first else 0])
        raise AssertionError("somebody runs for ever")

    def passing(self, seconds: float) -> Iterator[None]:
        """Let time pass, with a halt at each moment at which somebody's wait ends."""
        target_s = self.now_s + seconds
        self.settle()
        while due := [one for one in self.among("waiting") if one.until_s <= target_s]:
            self.now_s = max(self.now_s, min(one.until_s for one in due))
            for one in due:
                if one.until_s <= self.now_s:
                    one.state = "ready"
            self.settle()
            yield
        self.now_s = target_s
        yield

    def close(self) -> None:
        """End all actors, those that they start in ending too."""
        self._over = True
        for actor in self.actors:
            if actor.state == "done":
                continue
            actor.baton.release()
            self._halted.acquire()

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self._over


class StageLock:
    """A lock before which every actor halts, so that any other can come first."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._held = False

    def __enter__(self) -> None:
        if self._stage.over:
            return
        if self._stage.actor is not None:
            self._stage.halt("ready")
        while self._held:
            self._stage.halt("locked out", awaited=self)
        self._held = True

    def __exit__(self, *_: object) -> None:
        self._held = False
        self._stage.wake(self)


class StageEvent:
    """An event that is waited for in virtual time."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._set = False

    def set(self) -> None:
        """Wake all who wait."""
        self._set = True
        self._stage.wake(self)

    def is_set(self) -> bool:
        """Whether it happened."""
        return self._set

    def wait(self, timeout: float) -> bool:
        """Wait until it happens or the time is over."""
        if not self._set:
            self._stage.halt("waiting", self._stage.now_s + timeout, self)
        return self._set


@contextmanager
def staged(stage: Stage) -> Iterator[None]:
    """Give the token source the stage's threads and time, and everyone its own wall clock."""

    class StageThread:
        def __init__(self, target: Callable[..., None], args: tuple[Any, ...], **_: Any) -> None:
            self._target = lambda: target(*args)

        def start(self) -> None:
            stage.enter("flight", self._target)

    threads = SimpleNamespace(
        Lock=lambda: StageLock(stage), Event=lambda: StageEvent(stage), Thread=StageThread
    )
    with ExitStack() as stack:
        stack.enter_context(patch.object(token_module, "threading", threads))
        clock = SimpleNamespace(monotonic=stage.clock)
        stack.enter_context(patch.object(deadline_module, "time", clock))
        yield


@dataclass(frozen=True)
class Known:
    """What was certain when a caller began to ask."""

    patience_s: float
    began_s: float
    epoch: int
    failing: bool
    failures: int
    refused: frozenset[str]
    refused_generation: int

    @property
    def bound_s(self) -> float:
        """When the caller has to have an answer."""
        return self.began_s + min(self.patience_s, limits.TOKEN_WAIT_MAX_S)


class CurrentToken:
    """What a bystander knows for certain about the source's current token.

    A flight or a rotation is accepted somewhere between its beginning and its end; where these
    overlap with each other or with a rejection nothing is certain until the next one.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.newest: str | None = None
        self._until_s = 0.0
        self._overlap_until_s = float("inf")
        self._accepting = 0
        self._overlapped = self._doubt = False

    @property
    def quiet(self) -> bool:
        """Whether no new token is on its way in."""
        return not self._accepting

    def valid(self, now_s: float) -> bool:
        """Whether there certainly is a token that is valid."""
        return now_s < self._until_s

    def accepting(self) -> None:
        """A token is on its way in."""
        self._overlapped |= self._accepting > 0
        self._accepting += 1

    def accepted(self, issued: Issued, now_s: float, *, surely: bool) -> None:
        """A token has come in, or (not surely) was dropped because another overtook it."""
        self._accepting -= 1
        self._doubt |= not surely
        until_s = min(now_s + issued.expires_in_s, self._overlap_until_s)
        if self._accepting:
            self._overlap_until_s = until_s
            return
        self.newest = None if self._overlapped or self._doubt else issued.value
        self._until_s = 0.0 if self._doubt else until_s
        self._overlap_until_s = float("inf")
        self._overlapped = self._doubt = False

    def rejected(self) -> None:
        """The current token may be rejected any moment."""
        self.epoch += 1
        self._until_s = 0.0
        self._doubt = self._accepting > 0


class TokenStates(RuleBasedStateMachine):
    """Callers, an issuer of every mood, rejections, rotations, clocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()
        self.wall_s = 1_700_000_000.0
        self.stack = ExitStack()
        self.stack.enter_context(staged(self.stage))
        self.stack.enter_context(patch("time.time", lambda: self.wall_s))
        self.current = CurrentToken()
        self.waiting: dict[Actor, Known] = {}
        self.handed_out: list[Token] = []
        self.issued = 0
        # What was wrong with a request; a flight keeps exceptions to itself, so it is noted here.
        self.wrong_request = ""
        # How often the issuer failed, in all and since the last token, and when it may be asked.
        self.failing = False
        self.failures = self.failures_in_a_row = 0
        self.gate_until_s = 0.0
        # What must not be seen again.
        self.refused: set[str] = set()
        self.last_refused: str | None = None
        self.refused_generation = 0

    @initialize(part=st.sampled_from([0.0, 0.5, 1.0]))
    def open(self, part: float) -> None:
        """Make the source; its chances all fall on the same part of their range."""
        self.source = TokenSource(
            self.issue,
            clock=self.stage.clock,
            chance=lambda low, high: low + part * (high - low),
        )

    def teardown(self) -> None:
        """End the actors."""
        self.stage.close()
        self.stack.close()

    def issue(self) -> Issued:
        """Be asked for a token by the source; answer when a rule says how."""
        early = self.stage.now_s < self.gate_until_s - _ROUNDING_S
        if self.stage.among("asking"):
            self.wrong_request = "there is a second flight"
        elif early and not self._rotating():
            self.wrong_request = "the gate let a flight through"
        self.stage.halt("asking")
        actor = self.stage.actor
        assert actor is not None
        if isinstance(actor.outcome, Exception):
            raise actor.outcome
        return actor.outcome

    @invariant()
    def the_issuer_is_asked_rightly(self) -> None:
        """One flight at a time, and none before the gate opens."""
        assert "" == self.wrong_request

    @rule(patience_s=st.sampled_from([0.0, 0.05, 1.0, 4.9, 5.0, 5.1, 30.0]), at_once=st.booleans())
    def call(self, patience_s: float, at_once: bool) -> None:
        """A caller asks for the token."""
        self._ask(patience_s, at_once, lambda: None)

    @rule(after_s=st.sampled_from([0.5, 1.3, 2.5, 5.0, 40.0, 200.0]))
    def call_later(self, after_s: float) -> None:
        """After a while a caller asks who does not wait: a flight takes off if it may."""
        self.time_passes(after_s)
        self.call(0.0, at_once=True)
        self.stage.settle()

    @precondition(lambda self: self.handed_out)
    @rule(
        back=st.sampled_from([0, 0, 0, 1, 2]),
        patience_s=st.sampled_from([0.0, 1.0, 30.0]),
        at_once=st.booleans(),
    )
    def reject(self, back: int, patience_s: float, at_once: bool) -> None:
        """A caller was answered 110 to a token that somebody got; it says so and asks again."""
        token = self.handed_out[-1 - back % len(self.handed_out)]
        if token.generation == max(one.generation for one in self.handed_out):
            self.current.rejected()
            self.last_refused = None

        def say() -> None:
            sure = self.current.quiet and token.value == self.current.newest
            self.source.reject(token)
            self.refused_generation = max(self.refused_generation, token.generation)
            if sure and self.current.quiet and token.value == self.current.newest:
                self.refused.add(token.value)
                self.last_refused = token.value

        self._ask(patience_s, at_once, say)

    @precondition(lambda self: self.stage.among("ready"))
    @rule(number=st.integers(0, 7))
    def run_one(self, number: int) -> None:
        """One thread gets to its next lock, or to where it has to wait."""
        ready = self.stage.among("ready")
        self.stage.run(ready[number % len(ready)])

    @precondition(lambda self: self.stage.among("ready"))
    @rule(number=st.integers(0, 7))
    def run_through(self, number: int) -> None:
        """One thread gets as far as it can, before all others."""
        ready = self.stage.among("ready")
        self.stage.run_through(ready[-1 - number % len(ready)])

    @rule(newest_first=st.booleans())
    def run_all(self, newest_first: bool) -> None:
        """All threads get as far as they can."""
        self.stage.settle(newest_first)

    @precondition(lambda self: self.stage.among("asking"))
    @rule(lifetime_s=st.sampled_from([61, 3600, LIFETIME_S]), at_once=st.booleans())
    def refresh_succeeds(self, lifetime_s: int, at_once: bool) -> None:
        """The issuer gives a new token."""
        issued = self._new(lifetime_s)
        self.current.accepting()
        self._land(issued, at_once, lambda flight: self._accepted(issued, not flight.overtaken))

    @precondition(lambda self: self.stage.among("asking"))
    @rule(kind=st.sampled_from(["down", "hopeless", "broken"]), at_once=st.booleans())
    def refresh_fails(self, kind: str, at_once: bool) -> None:
        """The issuer has none, rejects the key pair, or something breaks."""
        errors = {
            "down": UpstreamUnavailable("down", retry_after_s=1.0),
            "hopeless": UpstreamCredentialsRejected("no such client"),
            "broken": ValueError("unforeseen"),
        }
        self._fail(errors[kind], at_once, hopeless=kind == "hopeless")

    @precondition(lambda self: self.stage.among("asking") and self.last_refused)
    @rule(at_once=st.booleans())
    def refresh_repeats(self, at_once: bool) -> None:
        """The issuer gives the token that was rejected."""
        self._fail(Issued(str(self.last_refused), LIFETIME_S), at_once)

    @rule(at_once=st.booleans())
    def rotate(self, at_once: bool) -> None:
        """A new key pair got a token, which overtakes a flight that is under way."""
        issued = self._new(LIFETIME_S)
        self.current.accepting()
        self._overtake()

        def adopted() -> None:
            self._overtake()
            self._accepted(issued, surely=True)

        rotation = self.stage.enter("rotation", lambda: self.source.adopt(issued), adopted)
        if at_once:
            self.stage.run_through(rotation)

    @rule(
        seconds=st.sampled_from(
            [0.01, 0.5, 1.0, 1.2, 2.4, 5.0, 30.0, 360.0, 3600.0, LIFETIME_S * 0.85, LIFETIME_S]
        )
    )
    def time_passes(self, seconds: float) -> None:
        """Time passes; a refresh that is under way is slow."""
        for _ in self.stage.passing(seconds):
            for known in self.waiting.values():
                late = self.stage.now_s > known.bound_s + _ROUNDING_S
                assert not late, "somebody is blocked past the deadline"

    @rule(seconds=st.sampled_from([-31 * 86400.0, -3600.0, 3600.0, 31 * 86400.0]))
    def wall_clock_steps(self, seconds: float) -> None:
        """Somebody sets the clock on the wall."""
        before = self.source.state
        self.wall_s += seconds
        assert before is self.source.state

    def _overtake(self) -> None:
        for actor in self.stage.actors:
            actor.overtaken |= actor.name == "flight"

    def _ask(self, patience_s: float, at_once: bool, first: Callable[[], None]) -> None:
        deadline = Deadline.after(patience_s)

        def ask() -> None:
            first()
            actor = self.stage.actor
            assert actor is not None
            known = self.waiting[actor] = self._known(patience_s)
            try:
                got: Token | ServiceError = self.source.get(deadline)
            except ServiceError as error:
                got = error
            del self.waiting[actor]
            self._judge(known, got, waited=actor.waits > 0)

        caller = self.stage.enter("caller", ask)
        if at_once:
            self.stage.run_through(caller)

    def _known(self, patience_s: float) -> Known:
        landing = any(actor.outcome is not None for actor in self.stage.actors)
        return Known(
            patience_s=patience_s,
            began_s=self.stage.now_s,
            epoch=self.current.epoch if self.current.valid(self.stage.now_s) else -1,
            failing=self.failing or landing,
            failures=self.failures,
            refused=frozenset(self.refused),
            refused_generation=self.refused_generation,
        )

    def _judge(self, known: Known, got: Token | ServiceError, *, waited: bool) -> None:
        now_s = self.stage.now_s
        if known.epoch == self.current.epoch and self.current.valid(now_s):
            assert isinstance(got, Token), "a valid token was not served"
            assert not waited, "somebody waited although there was a valid token"
        if isinstance(got, Token):
            assert got.generation > known.refused_generation, "a rejected generation was served"
            assert got.value not in known.refused, "a rejected value was served"
            self.handed_out.append(got)
            return
        assert not self.current.valid(now_s), "an error, although there is a valid token by now"
        told = known.failing or self.failures > known.failures
        assert told or now_s >= known.bound_s - _ROUNDING_S, f"failed for no reason: {got}"

    def _new(self, lifetime_s: int) -> Issued:
        self.issued += 1
        return Issued(f"token-{self.issued}", lifetime_s)

    def _land(
        self, outcome: Issued | Exception, at_once: bool, afterwards: Callable[[Actor], None]
    ) -> None:
        (flight,) = self.stage.among("asking")
        flight.outcome, flight.state = outcome, "ready"
        flight.afterwards = lambda: afterwards(flight)
        if at_once:
            self.stage.run_through(flight)

    def _fail(self, outcome: Issued | Exception, at_once: bool, *, hopeless: bool = False) -> None:
        self.failures += 1

        def failed(flight: Actor) -> None:
            self.failing = True
            self.failures += 1
            if flight.overtaken:
                return  # whether it closed the gate is not certain
            doubled_s = limits.TOKEN_GATE_FIRST_S * 2**self.failures_in_a_row
            wait_s = min(doubled_s, limits.TOKEN_GATE_MAX_S) * _JITTER_LEAST
            self.gate_until_s = self.stage.now_s + (limits.TOKEN_GATE_MAX_S if hopeless else wait_s)
            self.failures_in_a_row += 1

        self._land(outcome, at_once, failed)

    def _accepted(self, issued: Issued, surely: bool) -> None:
        self.current.accepted(issued, self.stage.now_s, surely=surely)
        self.failing &= not surely
        self.failures_in_a_row = 0
        self.gate_until_s = 0.0

    def _rotating(self) -> bool:
        return any(actor.name == "rotation" for actor in self.stage.actors)


TestTokenStates = TokenStates.TestCase
TestTokenStates.settings = settings(
    max_examples=300, stateful_step_count=40, derandomize=True, deadline=None, database=None
)


class Pair:
    """Credentials that are changed by setting them."""

    def __init__(self, pair: KeyPair) -> None:
        self.pair = pair

    def read(self) -> KeyPair:
        """Return the pair."""
        return self.pair


def _issuer(upstream: FakeUpstream) -> TokenIssuer:
    return TokenIssuer(Transport(upstream.url), Pair(KeyPair("the-api-key", "the-secret-key")))


@pytest.mark.parametrize("proven", [False, True], ids=["first pair", "new pair"])
def test_a_pair_that_is_rejected_is_not_tried_at_each_look(
    proven: bool, upstream: FakeUpstream
) -> None:
    """In an hour of looks, 15 s apart, at one wrong pair: at most a try each 5 min."""
    credentials = Pair(KeyPair("old-key", "old-secret"))
    issuer = TokenIssuer(Transport(upstream.url), credentials)
    if proven:
        issuer()
        credentials.pair = KeyPair("new-key", "wrong-secret")
    upstream.always("token", Fault(status=401, body=b'{"error": "invalid_client"}'))
    asked = len(upstream.received)
    for _ in range(240):
        issuer.replaced()
    assert len(upstream.received) - asked <= 12


class Waiter:
    """A source on a stage, and a caller who waits for its first flight, which is asking."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.got: list[Token | ServiceError] = []
        self.failing = False
        self._numbers = count(1)
        self.source = TokenSource(self._issue, clock=self.stage.clock)
        self.caller = self.stage.enter("caller", self.get)
        self.stage.settle()

    def get(self) -> None:
        """Ask for a token with the longest wait there is."""
        try:
            self.got.append(self.source.get(Deadline.after(limits.TOKEN_WAIT_MAX_S)))
        except ServiceError as error:
            self.got.append(error)

    def land(self) -> None:
        """Let the flight land, well or (``failing``) not, before anyone who waits for it runs."""
        for flight in self.stage.among("asking"):
            flight.state = "ready"
            self.stage.run_through(flight)

    def _issue(self) -> Issued:
        self.stage.halt("asking")
        if self.failing:
            raise UpstreamUnavailable("down", retry_after_s=1.0)
        return Issued(f"token-{next(self._numbers)}", LIFETIME_S)


@pytest.fixture
def waiter() -> Iterator[Waiter]:
    """Return a caller who waits for a flight."""
    stage = Stage()
    with staged(stage):
        yield Waiter(stage)
        stage.close()


def test_a_rejection_before_the_waiters_wake_costs_them_nothing(waiter: Waiter) -> None:
    """A waiter whose flight succeeded, and whose token is gone when it wakes, waits on."""
    stage = waiter.stage
    waiter.land()
    stage.run_through(stage.enter("quick", waiter.get))
    (quick,) = waiter.got
    assert isinstance(quick, Token)
    stage.run_through(stage.enter("rejecting", lambda: waiter.source.reject(quick)))
    assert "ready" == waiter.caller.state
    stage.settle()
    waiter.land()
    stage.settle()
    assert [1, 2] == [getattr(got, "generation", got) for got in waiter.got]


def test_a_token_that_came_in_time_is_served_to_whoever_wakes_late(waiter: Waiter) -> None:
    """The flight lands well in the last moment of a wait; the waiter runs a moment later."""
    waiter.land()
    waiter.stage.now_s += limits.TOKEN_WAIT_MAX_S + 0.01
    waiter.stage.settle()
    assert [1] == [getattr(got, "generation", got) for got in waiter.got]


def test_a_token_adopted_after_a_failed_flight_is_served(waiter: Waiter) -> None:
    """The flight fails, a rotation brings a token, and then the flight's waiter wakes."""
    waiter.failing = True
    waiter.land()
    rotated = Issued("rotated", LIFETIME_S)
    waiter.stage.run_through(waiter.stage.enter("rotation", lambda: waiter.source.adopt(rotated)))
    waiter.stage.settle()
    assert ["rotated"] == [getattr(got, "value", got) for got in waiter.got]


def test_a_thread_that_cannot_be_started_is_a_passing_failure() -> None:
    """At the limit of threads callers get a typed error, and the next flight takes off."""
    stage = Stage()
    source = TokenSource(lambda: Issued("token", LIFETIME_S), clock=stage.clock)
    with (
        patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")),
        suppress(ServiceError, RuntimeError),
    ):
        source.get(Deadline.after(0))
    stage.now_s += 2 * limits.TOKEN_GATE_MAX_S
    assert "token" == source.get(Deadline.after(1)).value


@pytest.mark.parametrize("error", [[], {}], ids=str)
def test_an_error_word_that_is_no_word_is_no_token(error: object, upstream: FakeUpstream) -> None:
    """An answer whose ``error`` is a list or an object is refused as any other insane one."""
    upstream.then("token", {"error": error})
    with pytest.raises(UpstreamUnavailable):
        _issuer(upstream)()


@pytest.mark.parametrize("proven", [False, True], ids=["first pair", "new pair"])
def test_the_rotation_leaves_an_issuer_that_is_down_alone(
    proven: bool, upstream: FakeUpstream
) -> None:
    """In an hour of looks, 15 s apart: at most a token request each 30 s."""
    credentials = Pair(KeyPair("old-key", "old-secret"))
    issuer = TokenIssuer(Transport(upstream.url), credentials)
    if proven:
        issuer()
        credentials.pair = KeyPair("new-key", "new-secret")
    upstream.always("token", Fault(status=500, body=b"down"))
    asked = len(upstream.received)
    for _ in range(240):
        issuer.replaced()
    assert len(upstream.received) - asked <= 120


def test_a_slow_flight_of_the_old_pair_does_not_bring_it_back(upstream: FakeUpstream) -> None:
    """A pair that was replaced while its own token request was under way stays replaced."""
    credentials = Pair(KeyPair("old-key", "old-secret"))
    issuer = TokenIssuer(Transport(upstream.url), credentials)
    issuer()
    arrived, answered = threading.Event(), threading.Event()

    def slow(request: Received) -> dict[str, object]:
        if b"old-key" in request.body:
            arrived.set()
            answered.wait(10)
        return {"access_token": f"24.of-{len(upstream.received)}", "expires_in": LIFETIME_S}

    upstream.always("token", slow)
    flight = threading.Thread(target=issuer)
    flight.start()
    arrived.wait(10)
    credentials.pair = KeyPair("new-key", "new-secret")
    assert issuer.replaced() is not None
    answered.set()
    flight.join(10)
    issuer()
    assert b"new-key" in upstream.received[-1].body


def test_a_value_rejected_before_the_last_one_is_refused_too() -> None:
    """An issuer that goes back and forth between two dead tokens gives neither twice."""
    values = iter(["a", "b", "a"])
    source = TokenSource(lambda: Issued(next(values), LIFETIME_S))
    for _ in range(2):
        source.reject(source.get(Deadline.after(5)))
    with pytest.raises(UpstreamUnavailable):
        source.get(Deadline.after(5))
