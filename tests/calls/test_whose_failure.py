"""A refusal is for whom it is meant, says when, and is not held against anybody else."""

from __future__ import annotations

import asyncio
import errno
import math
import socket
import time
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from productsearch import v1
from productsearch_service import limits
from productsearch_service.call_context import CallContext, Caller, Deadline
from productsearch_service.errors import (
    DeadlineTooShort,
    RateLimited,
    ServiceError,
    UpstreamUnavailable,
    UpstreamWords,
)
from productsearch_service.library.search_cache import SearchCache
from productsearch_service.upstream.answers import Answer, Page
from productsearch_service.upstream.auth.token import Issued, TokenSource
from productsearch_service.upstream.gates import Gates, Sent, error_of
from productsearch_service.upstream.http.failure import TransportFailure
from productsearch_service.upstream.http.transport import Transport
from productsearch_service.upstream.masked import MaskedMembers, MaskedText
from productsearch_service.upstream.pacing.circuit_breaker import CircuitBreaker
from productsearch_service.upstream.pacing.rate import Rate
from productsearch_service.upstream.pacing.schedule import Schedule
from tests.calls.conftest import WatchedFactory
from tests.calls.watching import forwarded_for, late, outcome, search
from tests.fakes.upstream import FakeUpstream, Fault, Received, error, search_answer

ANSWER = search_answer()
DOWN = "UPSTREAM_UNAVAILABLE"


def by_url(number: int) -> v1.SearchImagesRequest:
    """Return a search by URL."""
    image = v1.ImageSource(url=f"http://images.example/{number}.jpg")
    return v1.SearchImagesRequest(image=image)


def test_a_slow_image_host_shortens_nobodys_deadline(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """Searches by URL that take long are answered; those by content need no longer deadline."""

    def answer(request: Received) -> Any:
        return late(0.8, ANSWER) if b"url=" in request.body else ANSWER

    upstream.always("search", answer)
    facade = watched(quota_qps=100)
    slow = [facade.stub.SearchImages.future(by_url(number)) for number in range(8)]
    assert {"OK"} == {outcome(call) for call in slow}
    quick = facade.stub.SearchImages.future(search(1), timeout=0.7)
    assert "OK" == outcome(quick)


@pytest.mark.parametrize("failure", [error(1), Fault(status=503), Fault(status=500)])
def test_one_input_is_no_outage(
    watched: WatchedFactory, upstream: FakeUpstream, failure: Any
) -> None:
    """The upstream, or a proxy before it, trips over one image; another caller is answered."""

    def answer(request: Received) -> Any:
        return failure if b"url=" in request.body else ANSWER

    upstream.always("search", answer)
    facade = watched()
    for _ in range(limits.BREAKER_FAILURES + 1):
        call = facade.stub.SearchImages.future(by_url(1), metadata=forwarded_for("poisoner"))
        assert DOWN == outcome(call)
    assert 0 == facade.metric("breaker_open")
    call = facade.stub.SearchImages.future(search(1), metadata=forwarded_for("shop"))
    assert "OK" == outcome(call)


def _answer(code: int = 0, http_status: int = 0) -> Answer:
    words = UpstreamWords(code, http_status=http_status)
    return Answer(words, MaskedMembers(), failed=bool(code or http_status))


def _closed_by_quota() -> Gates:
    breaker = CircuitBreaker(failures_max=5, open_s=1, open_max_s=5, tells_when=True)
    gates = Gates(breaker)
    gates.learn(_answer(17), _sent())
    assert gates.quota.is_open
    return gates


def _sent() -> Sent:
    return Sent({"url": "u"}, CallContext.begin(Caller("shop"), None), 0.0, {})


@pytest.mark.parametrize(
    ("answer", "closed"),
    [(_answer(code), True) for code in (6, 18, 110, 111)]
    + [(_answer(http_status=status), True) for status in (413, 429, 404)]
    + [(_answer(code), False) for code in (0, 216680, 216681)],
)
def test_only_what_the_gateway_let_pass_opens_the_quotas_gate(answer: Answer, closed: bool) -> None:
    """A gateway that rejects tokens or limits the rate may still have no quota left."""
    gates = _closed_by_quota()
    gates.learn(answer, _sent())
    assert closed is gates.quota.is_open


def test_a_call_that_waits_for_its_slot_keeps_no_probe() -> None:
    """Whoever only asks whether it may wait takes nothing from the call that goes out first."""

    async def scene() -> None:
        now_s = 0.0
        breaker = CircuitBreaker(
            failures_max=1, open_s=1, open_max_s=1, tells_when=True, clock=lambda: now_s
        )
        breaker.failed(UpstreamUnavailable("down", retry_after_s=1.0), "shop", None)
        with pytest.raises(UpstreamUnavailable):
            breaker.check("shop")
        now_s = 1.0
        for _ in range(3):
            breaker.check("shop")
        assert await breaker.admit("jobs", Deadline.after(1)) is not None

    asyncio.run(scene())


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_passed_on(
    watched: WatchedFactory, upstream: FakeUpstream, status: int
) -> None:
    """What a proxy says of when to come back reaches the caller, and no attempt comes before."""
    upstream.extra_headers["Retry-After"] = "7"
    upstream.always("search", Fault(status=status))
    facade = watched()
    call = facade.stub.SearchImages.future(search(1), timeout=5)
    assert outcome(call) == ("RATE_LIMITED" if status == 429 else DOWN)
    assert 7 == v1.retry_delay_of(call)
    assert 1 == len(upstream.calls)


@pytest.mark.parametrize(
    "answer", [Fault(status=429), error(18), error(2)], ids=["429", "code 18", "code 2"]
)
@pytest.mark.parametrize("spelled", ["a number", "a date"])
def test_retry_after_is_passed_on_with_any_answer(
    watched: WatchedFactory, upstream: FakeUpstream, answer: Any, spelled: str
) -> None:
    """However it is spelled, and whatever stands in the body."""
    told = "40" if spelled == "a number" else formatdate(time.time() + 40, usegmt=True)
    upstream.extra_headers["Retry-After"] = told
    upstream.always("search", answer)
    call = watched().stub.SearchImages.future(search(1), timeout=5)
    assert outcome(call) in ("RATE_LIMITED", DOWN)
    assert 35 < (v1.retry_delay_of(call) or 0) <= 40


def test_tokens_that_are_accepted_and_rejected_by_turns_are_no_storm(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """Each second answer is 110: the calls are answered with the token that there is."""
    facade = watched()
    upstream.then("search", *[error(110), ANSWER] * 20)
    outcomes = [outcome(facade.stub.SearchImages.future(search(number))) for number in range(20)]
    assert ["OK"] * 20 == outcomes
    assert upstream.tokens_issued <= 3


def test_a_rejected_token_hides_no_later_failure(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """110, and then no answer with the new token: the upstream is unavailable, not the key."""
    facade = watched()
    upstream.then("search", error(110))
    upstream.always("search", Fault("close"))
    assert DOWN == outcome(facade.stub.SearchImages.future(search(1)))


def test_a_deadline_before_the_first_token_says_so() -> None:
    """The token endpoint takes 0.5 s: who waits for 0.2 s needs a longer deadline."""

    async def issue() -> Issued:
        await asyncio.sleep(0.5)
        return Issued("24.a-token-of-this-test", 2592000)

    async def scene() -> None:
        source = TokenSource(issue)
        with pytest.raises(DeadlineTooShort, match="at least 1 s"):
            await source.get(Deadline.after(0.2))
        assert 1 == (await source.get(Deadline.after(5))).generation
        await source.close()

    asyncio.run(scene())


@settings(max_examples=300, deadline=None)
@given(
    per_s=st.sampled_from([0.5, 2.0, 10.0, 100.0]),
    waiting=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40),
    caller=st.sampled_from("abcd"),
    is_search=st.booleans(),
    share=st.integers(1, 3),
    patience_s=st.floats(0, 5),
    served=st.integers(0, 5),
    exceeded=st.booleans(),
)
def test_after_the_time_that_is_told_there_is_a_slot(
    per_s: float,
    waiting: list[tuple[str, bool]],
    caller: str,
    is_search: bool,
    share: int,
    patience_s: float,
    served: int,
    exceeded: bool,
) -> None:
    """Whoever comes back after exactly its RetryInfo, with the same patience, is let in.

    In virtual time, behind any queue to which nobody is added.
    """
    rate, now_s = Rate(per_s), 0.0
    schedule = Schedule(rate)
    for who, searches in waiting:
        shares = share if who == caller else 1
        schedule.offer(who, math.inf, now_s, is_search=searches, share=shares)
    for _ in range(served):
        ticket, again_s = schedule.take(now_s)
        if ticket is None and again_s < math.inf:
            now_s = again_s
    if exceeded:
        rate.exceeded(now_s)
    try:
        schedule.offer(caller, now_s + patience_s, now_s, is_search=is_search, share=share)
    except RateLimited as refused:
        assert refused.retry_after_s
        back_s = now_s + refused.retry_after_s
        while now_s <= back_s:
            ticket, again_s = schedule.take(now_s)
            now_s = now_s if ticket is not None else again_s
        schedule.offer(caller, back_s + patience_s, back_s, is_search=is_search, share=share)


def test_a_twin_is_not_told_what_only_its_leader_is_refused_for() -> None:
    """The leader of a shared search is kept away before anything was sent: the twin asks itself."""

    async def scene() -> None:
        cache = SearchCache()
        page = Page((), False, 7)

        async def refused() -> Page:
            await asyncio.sleep(0.05)
            raise UpstreamUnavailable("the upstream failed you; this call was not sent")

        async def answered() -> Page:
            return page

        leader = CallContext.begin(Caller("poisoner"), None)
        twin = CallContext.begin(Caller("shop"), None)
        leads = asyncio.create_task(cache.answer("key", refused, leader))
        await asyncio.sleep(0.01)
        assert page is await cache.answer("key", answered, twin)
        with pytest.raises(UpstreamUnavailable):
            await leads

    asyncio.run(scene())


def test_a_replica_without_descriptors_blames_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """EMFILE is no failure of the upstream: SERVER_OVERLOADED, and the breaker hears nothing."""

    def none_left(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    async def scene() -> TransportFailure:
        transport = Transport("http://127.0.0.1:9")
        monkeypatch.setattr(transport, "_socket", none_left)
        try:
            await transport.post("/p", MaskedText(), (b"x",), Deadline.after(5))
        except TransportFailure as failure:
            return failure
        finally:
            await transport.close()
        raise AssertionError("it connected")

    failure = asyncio.run(scene())
    told: ServiceError = error_of(failure)
    assert "SERVER_OVERLOADED" == told.reason
    breaker = CircuitBreaker(failures_max=1, open_s=1, open_max_s=1, tells_when=True)
    Gates(breaker).learn_failure(failure, _sent())
    assert not breaker.is_open
