"""Callers who wait for a token, in moments that a machine seldom comes by."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Iterator
from itertools import count
from unittest.mock import patch

import pytest

from productsearch_service import limits
from productsearch_service.call_context import Deadline
from productsearch_service.errors import DeadlineTooShort, ServiceError, UpstreamUnavailable
from productsearch_service.upstream.auth.credentials import FixedCredentials, KeyPair
from productsearch_service.upstream.auth.issuer import TokenIssuer
from productsearch_service.upstream.auth.token import Issued, Token, TokenSource
from tests.fakes.upstream import FakeUpstream
from tests.tokens.stage import Stage, staged
from tests.tokens.states import LIFETIME_S

Caller = asyncio.Task[None]


class Waiters:
    """A source on a stage, and callers who wait for its flight, which is asking."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.got: list[Token | ServiceError] = []
        self.failing = False
        self.flights_cancelled = 0
        self._numbers = count(1)
        self._answer = stage.loop.create_future()
        self.source = TokenSource(self._issue, clock=stage.clock)
        self.starter = self.enter()

    @property
    def values(self) -> list[str]:
        """What the callers got, in order: values of tokens and words of errors."""
        return [got.value if isinstance(got, Token) else got.message for got in self.got]

    def enter(self) -> Caller:
        """Let one more caller wait for the flight."""
        caller = self.stage.enter(self.get())
        self.stage.settle()
        return caller

    async def get(self) -> None:
        """Ask for a token with the longest wait there is."""
        try:
            self.got.append(await self.source.get(Deadline.after(limits.TOKEN_WAIT_MAX_S)))
        except ServiceError as error:
            self.got.append(error)

    def land(self) -> None:
        """Let the flight land, well or (``failing``) not, before anyone who waits for it runs."""
        answer, self._answer = self._answer, self.stage.loop.create_future()
        answer.set_result(None)
        flight = self._flight
        while not flight.done():
            self.stage.step()

    async def _issue(self) -> Issued:
        flight = asyncio.current_task()
        assert flight is not None
        self._flight = flight
        try:
            await self._answer
        except asyncio.CancelledError:
            self.flights_cancelled += 1
            raise
        if self.failing:
            raise UpstreamUnavailable("down", retry_after_s=1.0)
        return Issued(f"token-{next(self._numbers)}", LIFETIME_S)


@pytest.fixture
def waiters() -> Iterator[Waiters]:
    """Return a source whose flight one caller waits for."""
    with staged() as stage:
        yield Waiters(stage)


@pytest.mark.parametrize("failing", [False, True], ids=["token", "error"])
def test_a_cancelled_waiter_does_not_fail_its_twins(failing: bool, waiters: Waiters) -> None:
    """One of three waiters is cancelled: it ends at once, the flight goes on for the others."""
    leaver, _ = waiters.enter(), waiters.enter()
    leaver.cancel()
    waiters.stage.settle()
    assert leaver.cancelled()
    waiters.failing = failing
    waiters.land()
    waiters.stage.settle()
    assert ["down" if failing else "token-1"] * 2 == waiters.values
    assert 0 == waiters.flights_cancelled


def test_the_end_of_the_caller_who_began_the_flight_is_not_the_flights(waiters: Waiters) -> None:
    """Cancelled like any other waiter, it ends alone."""
    waiters.enter()
    waiters.starter.cancel()
    waiters.stage.settle()
    assert waiters.starter.cancelled()
    waiters.land()
    waiters.stage.settle()
    assert ["token-1"] == waiters.values
    assert 0 == waiters.flights_cancelled


def test_a_flight_that_everyone_left_brings_the_token_for_the_next(waiters: Waiters) -> None:
    """All waiters are cancelled; the token is there when the next caller comes."""
    waiters.starter.cancel()
    waiters.stage.settle()
    waiters.land()
    waiters.enter()
    assert ["token-1"] == waiters.values


def test_a_waiter_whose_deadline_ends_does_not_fail_its_twins(waiters: Waiters) -> None:
    """A caller with 50 ms left has its error after these; its twin gets the token later."""
    hasty = waiters.stage.enter(waiters.source.get(Deadline.after(0.05)))
    waiters.stage.pass_time(0.06)
    with pytest.raises(DeadlineTooShort, match="at least 1 s"):
        hasty.result()
    waiters.land()
    waiters.stage.settle()
    assert ["token-1"] == waiters.values


def test_a_rejection_before_the_waiters_wake_costs_them_nothing(waiters: Waiters) -> None:
    """A waiter whose flight succeeded, and whose token is gone when it wakes, waits on."""
    waiters.land()
    first = Token("token-1", 1)
    waiters.source.reject(first)
    assert not waiters.starter.done()
    waiters.stage.settle()
    assert [] == waiters.got
    waiters.land()
    waiters.stage.settle()
    assert ["token-2"] == waiters.values


def test_a_token_that_came_in_time_is_served_to_whoever_wakes_late(waiters: Waiters) -> None:
    """The flight lands well in the last moment of a wait; the waiter runs a moment later."""
    waiters.land()
    waiters.stage.now_s += limits.TOKEN_WAIT_MAX_S + 0.01
    waiters.stage.settle()
    assert ["token-1"] == waiters.values


def test_a_token_adopted_after_a_failed_flight_is_served(waiters: Waiters) -> None:
    """The flight fails, a rotation brings a token, and then the flight's waiter wakes."""
    waiters.failing = True
    waiters.land()
    waiters.source.adopt(Issued("rotated", LIFETIME_S))
    waiters.stage.settle()
    assert ["rotated"] == waiters.values


def test_what_a_superseded_flight_brings_is_dropped(waiters: Waiters) -> None:
    """A rotation brings a token while the old pair's flight is under way; its waiters get that."""
    waiters.source.adopt(Issued("rotated", LIFETIME_S))
    waiters.land()
    waiters.stage.settle()
    waiters.enter()
    assert ["rotated"] * 2 == waiters.values


def test_closing_ends_the_flight_and_its_waiters(waiters: Waiters) -> None:
    """The flight is cancelled, its waiters get an error at once, and no other flight begins."""
    before_s = waiters.stage.now_s
    waiters.stage.run(waiters.source.close())
    waiters.enter()
    assert ["no token was received in time"] * 2 == waiters.values
    assert (1, before_s) == (waiters.flights_cancelled, waiters.stage.now_s)
    assert set() == asyncio.all_tasks(waiters.stage.loop)


def test_closing_ends_a_flight_that_has_not_begun(waiters: Waiters) -> None:
    """The flight's task is cancelled before its first step; who asks then gets an error at once."""
    waiters.land()
    waiters.stage.settle()
    waiters.source.reject(Token("token-1", 1))

    async def close() -> None:
        waiters.source.prepare()
        await waiters.source.close()

    before_s = waiters.stage.now_s
    waiters.stage.run(close())
    waiters.enter()
    assert ["token-1", "no token was received in time"] == waiters.values
    assert (0, before_s) == (waiters.flights_cancelled, waiters.stage.now_s)


def test_a_valid_token_is_served_after_closing(waiters: Waiters) -> None:
    """Calls that are under way while the service stops still get the token there is."""
    waiters.land()
    waiters.stage.run(waiters.source.close())
    waiters.enter()
    assert ["token-1"] * 2 == waiters.values


def test_a_thread_that_cannot_be_started_is_a_passing_failure(upstream: FakeUpstream) -> None:
    """At the limit of threads callers get a typed error, and the next flight takes off."""
    now_s = 1000.0

    async def callers() -> str:
        nonlocal now_s
        issuer = TokenIssuer(upstream.url, None, FixedCredentials(KeyPair("a-key", "a-secret")))
        source = TokenSource(issuer, clock=lambda: now_s)
        refused = RuntimeError("can't start new thread")
        with (
            patch.object(threading.Thread, "start", side_effect=refused),
            pytest.raises(UpstreamUnavailable),
        ):
            await source.get(Deadline.after(5))
        now_s += 2 * limits.TOKEN_GATE_MAX_S
        value = (await source.get(Deadline.after(5))).value
        issuer.close()
        return value

    assert "24.token-1" == asyncio.run(callers())
    assert 1 == len(upstream.received)


def test_a_value_rejected_before_the_last_one_is_refused_too() -> None:
    """An issuer that goes back and forth between two dead tokens gives neither twice."""
    values = iter(["a", "b", "a"])

    async def issue() -> Issued:
        return Issued(next(values), LIFETIME_S)

    with staged() as stage:
        source = TokenSource(issue)
        for _ in range(2):
            token = stage.run(source.get(Deadline.after(5)))
            source.accepted(token)
            source.reject(token)
            source.reject(token)
        with pytest.raises(UpstreamUnavailable):
            stage.run(source.get(Deadline.after(5)))


def test_whoever_leaves_shows_nothing_of_what_the_issuer_answered() -> None:
    """An error that quotes it has come, and the flight has not run since."""
    told: list[str] = []

    async def leave() -> None:
        answer: asyncio.Future[Issued] = asyncio.get_running_loop().create_future()

        async def issue() -> Issued:
            return await answer

        source = TokenSource(issue)

        async def wait() -> None:
            try:
                await source.get(Deadline.after(30))
            except asyncio.CancelledError as left:
                whole = traceback.TracebackException.from_exception(left, capture_locals=True)
                told.extend(whole.format())

        waiter = asyncio.create_task(wait())
        await asyncio.sleep(0.01)
        waiter.cancel()
        answer.set_exception(ValueError("the key pair"))
        await waiter
        await source.close()

    asyncio.run(leave())
    assert any("asyncio.wait(" in line for line in told)
    assert "the key pair" not in "".join(told)
