"""The quota's slots belong to calls that can use them, and whoever gets none is told why."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from productsearch import v1
from tests.calls.conftest import WatchedFactory
from tests.calls.watching import add, error_of, image, late, outcome, search, until
from tests.fakes.upstream import FakeUpstream, search_answer

QUEUED = 20
LATENCY_S = 0.4


def test_cancelled_adds_give_their_slots_back(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """5 calls a second, 20 queued adds are cancelled: a call with 2 s is answered, and soon."""
    facade = watched(quota_qps=5)
    adds = [facade.stub.AddImage.future(add(number), timeout=20) for number in range(QUEUED)]
    until(lambda: facade.metric("pacer_waiting") >= QUEUED - 4)
    for call in adds:
        call.cancel()
    until(lambda: facade.metric("pacer_waiting") == 0, seconds=1)
    assert 0 == facade.in_flight()
    went_out = len(upstream.calls)
    assert "OK" == outcome(facade.stub.AddImage.future(add(100), timeout=2))
    assert went_out + 1 == len(upstream.calls)


def test_those_who_stay_move_up(watched: WatchedFactory, upstream: FakeUpstream) -> None:
    """Of 20 queued adds any 17 are cancelled: the rest and a live call need no 2 s."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    facade = watched(quota_qps=5)
    adds = [facade.stub.AddImage.future(add(number), timeout=20) for number in range(QUEUED)]
    until(lambda: facade.metric("pacer_waiting") >= QUEUED - 4)
    stay = set(random.Random(seed).sample(range(4, QUEUED), 3))
    for number, call in enumerate(adds):
        if number not in stay:
            call.cancel()
    until(lambda: facade.metric("pacer_waiting") <= len(stay), seconds=1)
    live = facade.stub.AddImage.future(add(100), timeout=2)
    assert ["OK"] * 4 == [outcome(call) for call in (*(adds[number] for number in stay), live)]
    sent = [call for call in upstream.calls if b"brief+100" in call.body]
    assert (1, True) == (len(sent), len(upstream.calls) <= 12)


def test_a_deadline_shorter_than_the_latency_is_told_as_that(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """On an idle library with a quota, for every deadline that the upstream cannot meet."""
    upstream.always("search", late(LATENCY_S, search_answer()))
    facade = watched(quota_qps=10)
    for number in range(3):
        assert "OK" == outcome(facade.stub.SearchImages.future(search(number)))
    sent = len(upstream.calls)
    for hundredths in range(10, 38, 3):
        call = facade.stub.SearchImages.future(search(99), timeout=hundredths / 100)
        assert "DEADLINE_TOO_SHORT" == outcome(call), f"a deadline of {hundredths / 100} s"
        assert v1.retry_delay_of(call) is None
    ref = v1.ImageRef(image=image(1))
    for call in (
        facade.stub.AddImage.future(add(1), timeout=0.25),
        facade.stub.UpdateImage.future(
            v1.UpdateImageRequest(image_ref=ref, brief="b"), timeout=0.25
        ),
        facade.stub.DeleteImage.future(v1.DeleteImageRequest(image_ref=ref), timeout=0.25),
    ):
        assert "DEADLINE_TOO_SHORT" == outcome(call)
        assert v1.retry_delay_of(call) is None
    batch = v1.BatchDeleteImagesRequest(cont_signs=["1,2"])
    (result,) = facade.stub.BatchDeleteImages(batch, timeout=0.25).results
    assert "DEADLINE_TOO_SHORT" == error_of(result)
    assert v1.retry_delay_of(result.error) is None
    assert sent == len(upstream.calls)
    assert "OK" == outcome(facade.stub.SearchImages.future(search(99), timeout=3))


def test_the_waiting_time_that_is_told_is_never_0(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """A queue that is too long for most deadlines: RATE_LIMITED says how long."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    upstream.always("search", late(0.03, search_answer()))
    facade = watched(quota_qps=20)
    calls = [
        facade.stub.SearchImages.future(search(number), timeout=chance.uniform(0.2, 1.2))
        for number in range(60)
    ]
    outcomes = [outcome(call) for call in calls]
    assert {"OK", "RATE_LIMITED"} <= set(outcomes)
    for call, came_to in zip(calls, outcomes, strict=True):
        if came_to == "RATE_LIMITED":
            assert 0 < (v1.retry_delay_of(call) or 0) < 5
        elif came_to != "OK":
            assert 0 != v1.retry_delay_of(call), came_to


@given(
    per_s=st.floats(0.1, 100),
    queued=st.integers(0, 50),
    patience_ms=st.integers(-5_000, 30_000),
    is_search=st.booleans(),
)
def test_no_refusal_says_0(per_s: float, queued: int, patience_ms: int, is_search: bool) -> None:
    """On a virtual clock: refused for the queue with a time above 0, else for the deadline."""
    from productsearch_service.errors import DeadlineTooShort, RateLimited
    from productsearch_service.upstream.pacing.rate import Rate
    from productsearch_service.upstream.pacing.schedule import Schedule

    now_s, patience_s = 1000.0, patience_ms / 1000
    schedule = Schedule(Rate(per_s))
    for number in range(queued):
        schedule.offer(f"caller {number % 3}", 1e9, now_s, is_search=number % 2 == 0)
    try:
        schedule.offer("caller", now_s + patience_s, now_s, is_search=is_search)
    except RateLimited as refused:
        assert queued
        assert patience_s >= 0
        assert (refused.retry_after_s or 0) > 0
    except DeadlineTooShort as refused:
        assert patience_s < 0
        assert refused.retry_after_s is None
