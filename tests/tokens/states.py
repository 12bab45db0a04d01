"""The token source under every order of events that hypothesis can think of, in virtual time.

The source runs unchanged; its threads, lock and events are a stage's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Final
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from productsearch_service import limits
from productsearch_service.deadline import Deadline
from productsearch_service.errors import (
    ServiceError,
    UpstreamCredentialsRejected,
    UpstreamUnavailable,
)
from productsearch_service.upstream.token import Issued, Token, TokenSource
from tests.tokens.bystander import CurrentToken, Known
from tests.tokens.stage import Actor, Stage, staged

LIFETIME_S: Final = 2_592_000
_JITTER_LEAST: Final = 0.8
_ROUNDING_S: Final = 1e-6


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
