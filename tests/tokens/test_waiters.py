"""Callers who wait for a token, in moments that a machine seldom comes by."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from unittest.mock import patch

import pytest

from productsearch_service import limits
from productsearch_service.deadline import Deadline
from productsearch_service.errors import (
    ServiceError,
    UpstreamUnavailable,
)
from productsearch_service.upstream.token import Issued, Token, TokenSource
from tests.tokens.stage import Stage, staged
from tests.tokens.states import LIFETIME_S


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


def test_a_value_rejected_before_the_last_one_is_refused_too() -> None:
    """An issuer that goes back and forth between two dead tokens gives neither twice."""
    values = iter(["a", "b", "a"])
    source = TokenSource(lambda: Issued(next(values), LIFETIME_S))
    for _ in range(2):
        source.reject(source.get(Deadline.after(5)))
    with pytest.raises(UpstreamUnavailable):
        source.get(Deadline.after(5))
