"""The token source under every order of events that hypothesis can think of, in virtual time.

The source runs unchanged, on an event loop whose clock is a stage's. Rules make things happen
between two iterations of the loop.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import ExitStack
from typing import Final
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from productsearch_service.call_context import Deadline
from productsearch_service.errors import (
    ServiceError,
    UpstreamCredentialsRejected,
    UpstreamUnavailable,
)
from productsearch_service.upstream.auth.token import Issued, Token, TokenSource, TokenState
from tests.tokens.bystander import CurrentToken, Gate, Known
from tests.tokens.stage import staged

LIFETIME_S: Final = 2_592_000
_ROUNDING_S: Final = 1e-6
_STAYS_S: Final = 10.0
_ERRORS: Final[dict[str, Exception]] = {
    "down": UpstreamUnavailable("down", retry_after_s=1.0),
    "hopeless": UpstreamCredentialsRejected("no such client"),
    "broken": ValueError("unforeseen"),
}


class TokenStates(RuleBasedStateMachine):
    """Callers, an issuer of every mood, rejections, rotations, cancellations, clocks."""

    def __init__(self) -> None:
        super().__init__()
        self.wall_s = 1_700_000_000.0
        self.stack = ExitStack()
        self.stage = self.stack.enter_context(staged())
        self.stack.enter_context(patch("time.time", lambda: self.wall_s))
        self.current = CurrentToken()
        self.waiting: dict[asyncio.Task[None], Known] = {}
        self.left: set[asyncio.Task[None]] = set()
        self.handed_out: list[Token] = []
        self.errors: list[ServiceError] = []
        self.issued = 0
        # The flight that is under way: what the issuer will answer; whether a rotation came after.
        self.asking: asyncio.Future[Issued] | None = None
        self.superseded = self.closing = False
        # How flights ended, as the issuer knows it and as it was counted.
        self.outcomes: list[str] = []
        self.counted: list[str] = []
        self.failures = 0
        # What must not be seen again, the oldest first.
        self.refused: list[str] = []
        self.refused_generation = 0
        self.refused_at_s = -math.inf
        self.accepted_value = ""
        # What was wrong within a task: noted there, raised by the next invariant.
        self.wrong: list[str] = []

    @initialize(part=st.sampled_from([0.0, 0.5, 1.0]))
    def open(self, part: float) -> None:
        """Make the source; its chances all fall on the same part of their range."""
        self.gate = Gate(part)
        self.source = TokenSource(
            self.issue,
            count=self.counted.append,
            clock=self.stage.clock,
            chance=lambda low, high: low + part * (high - low),
        )

    def teardown(self) -> None:
        """Close the source: the flight ends, and nobody waits any longer."""
        try:
            if hasattr(self, "source") and not self.wrong:
                self.stage.run(self._close())
                self.call(30.0)
                self.stage.settle()
                assert not self.waiting, "somebody waits for a closed source"
                assert self.asking is None, "a closed source has a flight"
                assert [] == self.wrong
        finally:
            self.closing = True
            self.stack.close()

    async def issue(self) -> Issued:
        """Be asked for a token by the source; answer when a rule says how."""
        self._require(self.asking is None, "there is a second flight")
        early = self.stage.now_s < self.gate.until_s - _ROUNDING_S
        self._require(not early, "the gate let a flight through")
        self._require(not self.closing, "a closed source began a flight")
        self.asking = self.stage.loop.create_future()
        try:
            issued = await self.asking
        except asyncio.CancelledError:
            self._require(self.closing, "a flight was cancelled")
            raise
        except Exception as error:
            self._failed(error)
            raise
        finally:
            self.asking = None
        if issued.value in self.refused and not self.superseded:
            self._failed(_ERRORS["down"])
            return issued
        self.outcomes.append("ok")
        if not self.superseded:
            self._accepted(issued)
        self.superseded = False
        return issued

    @invariant()
    def nothing_is_wrong(self) -> None:
        """The source did what the bystander expects, and its state is what it has to be."""
        assert [] == self.wrong
        assert self.outcomes == self.counted
        valid = self.current.valid(self.stage.now_s)
        assert valid is (self.source.state is not TokenState.EXPIRED)
        assert valid is self.source.stats.usable

    @rule(patience_s=st.sampled_from([0.0, 0.05, 1.0, 4.9, 5.0, 5.1, 30.0]))
    def call(self, patience_s: float) -> None:
        """A caller asks for the token."""
        self.stage.enter(self._ask(Deadline.after(patience_s), patience_s))

    @rule(after_s=st.sampled_from([0.5, 1.3, 2.5, 5.0, 40.0, 200.0]))
    def call_later(self, after_s: float) -> None:
        """After a while a caller asks who does not wait: a flight takes off if it may."""
        self.time_passes(after_s)
        self.call(0.0)
        self.run_all()

    @rule()
    def prepare(self) -> None:
        """Readiness looks after the token."""
        self.stage.loop.call_soon(self.source.prepare)

    @precondition(lambda self: self.handed_out)
    @rule(back=st.sampled_from([0, 0, 0, 1, 2]), patience_s=st.sampled_from([0.0, 1.0, 30.0]))
    def reject(self, back: int, patience_s: float) -> None:
        """A caller was answered 110 to a token that somebody got; it says so and asks again."""
        token = self.handed_out[-1 - back % len(self.handed_out)]
        is_current = token.value == self.current.value
        # Soon after a rejection, one that was accepted stays until it is rejected once more.
        soon = self.stage.now_s - self.refused_at_s < _STAYS_S
        stays = is_current and soon and self.accepted_value == token.value
        self.accepted_value = "" if is_current else self.accepted_value
        if is_current and not stays:
            self.current.rejected()
            self.refused.append(token.value)
            self.refused_at_s = self.stage.now_s
        if not stays:
            self.refused_generation = max(self.refused_generation, token.generation)
        self.source.reject(token)
        self.call(patience_s)

    @precondition(lambda self: self.waiting)
    @rule(number=st.integers(0, 7))
    def cancel(self, number: int) -> None:
        """A caller that waits is cancelled, be it the one that began the flight."""
        waiting = list(self.waiting)
        task = waiting[number % len(waiting)]
        self.left.add(task)
        task.cancel()

    @rule()
    def run_once(self) -> None:
        """The loop does what is ready: whoever gets ready by that has to wait."""
        self.stage.step()

    @rule()
    def run_all(self) -> None:
        """All tasks get as far as they can."""
        self.stage.settle()
        assert not self.waiting or self.asking, "somebody waits, and for no flight"

    @precondition(lambda self: self._is_asked())
    @rule(lifetime_s=st.sampled_from([61, 3600, LIFETIME_S]))
    def refresh_succeeds(self, lifetime_s: int) -> None:
        """The issuer gives a new token."""
        self._answer(self._new(lifetime_s))

    @precondition(lambda self: self._is_asked())
    @rule(kind=st.sampled_from(sorted(_ERRORS)))
    def refresh_fails(self, kind: str) -> None:
        """The issuer has none, rejects the key pair, or something breaks."""
        self._answer(_ERRORS[kind])

    @precondition(lambda self: self._is_asked() and self.refused)
    @rule(back=st.integers(0, 3))
    def refresh_repeats(self, back: int) -> None:
        """The issuer gives a token that was rejected."""
        self._answer(self._refused(back))

    @rule()
    def rotate(self) -> None:
        """A new key pair got a token, which overtakes a flight that is under way."""
        issued = self._new(LIFETIME_S)
        self._overtake()
        self.source.adopt(issued)
        self._accepted(issued)
        self.refused_at_s = -math.inf

    @precondition(lambda self: self.refused)
    @rule(back=st.integers(0, 3))
    def rotation_repeats(self, back: int) -> None:
        """A new key pair got a token that was rejected."""
        self._overtake()
        try:
            self.source.adopt(self._refused(back))
        except UpstreamUnavailable:
            return
        raise AssertionError("a rejected token was adopted")

    @rule(
        seconds=st.sampled_from(
            [0.01, 0.5, 1.0, 1.2, 2.4, 5.0, 30.0, 360.0, 3600.0, LIFETIME_S * 0.85, LIFETIME_S]
        )
    )
    def time_passes(self, seconds: float) -> None:
        """Time passes; a refresh that is under way is slow."""
        self.stage.settle()
        self.stage.pass_time(seconds)
        for known in self.waiting.values():
            blocked = self.stage.now_s > known.bound_s + _ROUNDING_S
            assert not blocked, "somebody is blocked past the deadline"

    @rule(seconds=st.sampled_from([-31 * 86400.0, -3600.0, 3600.0, 31 * 86400.0]))
    def wall_clock_steps(self, seconds: float) -> None:
        """Somebody sets the clock on the wall."""
        before = self.source.state
        self.wall_s += seconds
        assert before is self.source.state

    async def _ask(self, deadline: Deadline, patience_s: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        known = self.waiting[task] = self._known(patience_s)
        try:
            got: Token | ServiceError = await self.source.get(deadline)
        except ServiceError as error:
            got = error
        except asyncio.CancelledError:
            self._require(task in self.left, "a caller was cancelled by others")
            raise
        finally:
            del self.waiting[task]
        self._judge(known, got)

    async def _close(self) -> None:
        self.closing = True
        await self.source.close()

    def _known(self, patience_s: float) -> Known:
        return Known(
            patience_s=patience_s,
            began_s=self.stage.now_s,
            iteration=self.stage.iterations,
            valid=self.current.valid(self.stage.now_s),
            failing=self.gate.failing,
            failures=self.failures,
            refused=frozenset(self.refused),
            refused_generation=self.refused_generation,
        )

    def _judge(self, known: Known, got: Token | ServiceError) -> None:
        now_s = self.stage.now_s
        self._require(now_s <= known.bound_s + _ROUNDING_S, "somebody waited past the deadline")
        if known.valid:
            self._require(isinstance(got, Token), "a valid token was not served")
            waited = self.stage.iterations != known.iteration
            self._require(not waited, "somebody waited although there was a valid token")
        if isinstance(got, Token):
            newer = got.generation > known.refused_generation
            self._require(newer, "a rejected generation was served")
            self._require(got.value not in known.refused, "a rejected value was served")
            valid = got.value == self.current.value and self.current.valid(now_s)
            self._require(valid, "a token was served that is not the current one")
            self.handed_out.append(got)
            # The upstream accepts each token for a while; test_token_storm is about those it never
            # accepts.
            self.source.accepted(got)
            self.accepted_value = got.value
            return
        self._require(not self.current.valid(now_s), "an error, although there is a valid token")
        told = known.failing or self.failures > known.failures or self.closing
        in_time = now_s < known.bound_s - _ROUNDING_S
        self._require(told or not in_time, f"failed for no reason: {got}")
        shared = any(got is error for error in self.errors)
        self._require(not shared, "two callers were raised the same exception")
        self.errors.append(got)

    def _overtake(self) -> None:
        """Note that the flight's outcome does not count; its task may not have begun yet."""
        tasks = asyncio.all_tasks(self.stage.loop)
        self.superseded = any(task.get_name() == "token" for task in tasks)

    def _is_asked(self) -> bool:
        return self.asking is not None and not self.asking.done()

    def _answer(self, outcome: Issued | Exception) -> None:
        assert self.asking is not None
        if isinstance(outcome, Exception):
            self.asking.set_exception(outcome)
        else:
            self.asking.set_result(outcome)

    def _new(self, lifetime_s: int) -> Issued:
        self.issued += 1
        return Issued(f"token-{self.issued}", lifetime_s)

    def _refused(self, back: int) -> Issued:
        return Issued(self.refused[-1 - back % len(self.refused)], LIFETIME_S)

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self.outcomes.append(
            error.reason if isinstance(error, ServiceError) else UpstreamUnavailable.reason
        )
        if not self.superseded:
            hopeless = isinstance(error, UpstreamCredentialsRejected)
            self.gate.close(self.stage.now_s, hopeless=hopeless)
        self.superseded = False

    def _accepted(self, issued: Issued) -> None:
        self.current.accepted(issued, self.stage.now_s)
        self.gate.open()

    def _require(self, condition: bool, otherwise: str) -> None:
        if not condition:
            self.wrong.append(otherwise)
