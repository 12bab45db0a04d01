"""Tokens that the upstream never accepts, and what is told while there is none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from productsearch import v1
from productsearch_service import limits
from productsearch_service.call_context import Deadline
from productsearch_service.errors import (
    DeadlineTooShort,
    ServiceError,
    UpstreamCredentialsRejected,
    UpstreamUnavailable,
)
from productsearch_service.upstream.auth.token import Issued, TokenSource
from tests.conftest import FacadeFactory
from tests.fakes.upstream import FakeUpstream, error
from tests.pictures import jpeg
from tests.tokens.stage import Stage, staged

LIFETIME_S = 2_592_000
HOUR_S = 3600


class Issuer:
    """Issues another token each time, or fails, after ``answer_s``."""

    def __init__(self, stage: Stage, failure: ServiceError | None = None) -> None:
        self.asked_at_s: list[float] = []
        self.answer_s = 0.0
        self.failure = failure
        self._stage = stage

    async def __call__(self) -> Issued:
        import asyncio

        self.asked_at_s.append(self._stage.now_s)
        await asyncio.sleep(self.answer_s)
        if self.failure is not None:
            raise self.failure.copy()
        return Issued(f"token-{len(self.asked_at_s)}", LIFETIME_S)


def test_an_upstream_that_rejects_every_token_costs_one_in_10_s() -> None:
    """Ten callers a second for an hour: two requests at the start, then one in 10 s."""
    with staged() as stage:
        issuer = Issuer(stage)
        source = TokenSource(issuer, clock=stage.clock)
        told: set[type[ServiceError]] = set()
        for _ in range(10 * HOUR_S):
            for _ in range(2):  # the call and its replay
                try:
                    source.reject(stage.run(source.get(Deadline.after(5))))
                except ServiceError as refused:
                    told.add(type(refused))
            stage.pass_time(0.1)
        assert {UpstreamCredentialsRejected} == told
        gaps_s = [
            later - earlier
            for earlier, later in zip(issuer.asked_at_s[1:], issuer.asked_at_s[2:], strict=False)
        ]
        assert min(gaps_s) >= 10
        assert len(issuer.asked_at_s) <= 2 + HOUR_S / 10


def test_a_token_that_was_accepted_is_replaced_at_once() -> None:
    """Each token works for a second and is then revoked: that is not a storm."""
    with staged() as stage:
        source = TokenSource(Issuer(stage), clock=stage.clock)
        for _ in range(20):
            token = stage.run(source.get(Deadline.after(5)))
            source.accepted(token)
            stage.pass_time(1)
            source.reject(token)
            source.reject(token)
        assert stage.run(source.get(Deadline.after(5))).generation == 21


def test_a_token_that_is_accepted_and_rejected_by_turns_stays() -> None:
    """For an hour each second call is rejected: at most one request for a token in 10 s."""
    with staged() as stage:
        issuer = Issuer(stage)
        source = TokenSource(issuer, clock=stage.clock)
        for _ in range(HOUR_S):
            token = stage.run(source.get(Deadline.after(5)))
            source.reject(token)
            source.accepted(stage.run(source.get(Deadline.after(5))))
            stage.pass_time(1)
        assert len(issuer.asked_at_s) <= 1 + HOUR_S / 10


def test_a_new_key_pair_ends_the_pause() -> None:
    """What a new pair got is used at once, and has its own two rejections."""
    with staged() as stage:
        source = TokenSource(Issuer(stage), clock=stage.clock)
        for _ in range(2):
            source.reject(stage.run(source.get(Deadline.after(5))))
        source.adopt(Issued("of-the-new-pair", LIFETIME_S))
        token = stage.run(source.get(Deadline.after(5)))
        source.reject(token)
        assert stage.run(source.get(Deadline.after(5)))


def test_twenty_calls_that_are_all_answered_110(
    facade: FacadeFactory, upstream: FakeUpstream
) -> None:
    """Two token requests, each call told about the credentials, and few calls sent in vain."""
    stub = facade()
    upstream.always("search", error(110))
    for number in range(20):
        request = v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(number)))
        call = stub.SearchImages.future(request)
        assert call.exception() is not None
        assert v1.ErrorReason.UPSTREAM_CREDENTIALS_REJECTED == v1.reason_of(call)
    assert 2 == sum(request.method == "token" for request in upstream.received)
    assert 2 == len(upstream.calls)


@settings(deadline=None, max_examples=100)
@given(
    failures=st.integers(0, 12),
    answer_s=st.sampled_from([0.0, 0.5, 3.0, 9.0]),
    patience_s=st.floats(0.1, 30),
    later_s=st.floats(0, 400),
    waiters=st.integers(1, 3),
)
def test_after_the_time_that_is_told_a_token_is_asked_for(
    failures: int, answer_s: float, patience_s: float, later_s: float, waiters: int
) -> None:
    """Who waited for a flight, who was refused at the gate, who ran out of time: all are told so.

    The call that is repeated after exactly that time finds a new request for a token.
    """
    with staged() as stage:
        issuer = Issuer(stage, UpstreamUnavailable("down", retry_after_s=1.0))
        source = TokenSource(issuer, clock=stage.clock)
        for _ in range(failures):
            with pytest.raises(UpstreamUnavailable):
                stage.run(source.get(Deadline.after(5)))
            stage.pass_time(limits.TOKEN_GATE_MAX_S)
        issuer.answer_s = answer_s
        calls = [stage.enter(source.get(Deadline.after(patience_s))) for _ in range(waiters)]
        stage.pass_time(math.nextafter(min(patience_s, 5.0), math.inf))
        stage.pass_time(later_s)
        calls.append(stage.enter(source.get(Deadline.after(patience_s))))
        stage.pass_time(math.nextafter(min(patience_s, 5.0), math.inf))
        refused = calls[-1].exception()
        if isinstance(refused, DeadlineTooShort):
            assert patience_s < 1
            for call in calls:
                call.exception()
            return
        assert isinstance(refused, UpstreamUnavailable)
        assert refused.retry_after_s
        asked = len(issuer.asked_at_s)
        stage.pass_time(refused.retry_after_s)
        again = stage.enter(source.get(Deadline.after(patience_s)))
        stage.settle()
        assert len(issuer.asked_at_s) > asked or issuer.asked_at_s[-1] == stage.now_s
        again.cancel()
        for call in calls:
            call.exception()
