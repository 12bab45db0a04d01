"""Callers share by their weights: turns at the pacer, places at admission."""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from productsearch_service.call_context import Caller
from productsearch_service.errors import RateLimited, ServerOverloaded
from productsearch_service.rpc.admission import Places
from productsearch_service.upstream.pacing.rate import Rate
from productsearch_service.upstream.pacing.schedule import Schedule


def test_turns_are_as_the_shares() -> None:
    """Of callers that always wait, one of share 3 gets three slots where another gets one."""
    schedule = Schedule(Rate(1000))
    shares = {"web": 3, "batch": 1, "robot": 2}
    for caller, share in shares.items():
        for _ in range(60):
            schedule.offer(caller, 1e9, 0.0, is_search=True, share=share)
    served: Counter[str] = Counter()
    now_s = 0.0
    while served.total() < 60:
        ticket, now_s = schedule.take(now_s)
        if ticket is not None:
            served[ticket.caller] += 1
    assert {"web": 30, "batch": 10, "robot": 20} == served


@given(
    waiting=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30),
    shares=st.fixed_dictionaries(dict.fromkeys("abc", st.integers(1, 4))),
    caller=st.sampled_from("abc"),
    taken=st.integers(0, 5),
)
def test_no_call_begins_later_than_it_was_admitted_for(
    waiting: list[tuple[str, bool]], shares: dict[str, int], caller: str, taken: int
) -> None:
    """With searches alone, whoever is admitted for a slot is served by that slot."""
    schedule = Schedule(Rate(1.0))
    now_s = 0.0

    def offer(who: str, deadline_s: float) -> object:
        return schedule.offer(who, deadline_s, now_s, is_search=True, share=shares[who])

    for who, _ in waiting:
        offer(who, 1e9)
    for _ in range(taken):
        ticket, again_s = schedule.take(now_s)
        now_s = now_s if ticket is not None or again_s == float("inf") else again_s
    for patience_s in range(40):
        with contextlib.suppress(RateLimited):
            mine = offer(caller, now_s + patience_s)
            break
    for _ in range(200):
        ticket, again_s = schedule.take(now_s)
        if ticket is mine:
            break
        if ticket is None:
            now_s = again_s
    assert not ticket.refused  # type: ignore[union-attr]


@pytest.mark.parametrize(("share", "own_max"), [(1, 48), (4, 60)])
def test_a_larger_share_leaves_less_to_others(share: int, own_max: int) -> None:
    """Of 64 places a caller of share 1 leaves 16 to others, one of share 4 leaves them 4.

    Alone too: who comes next must find a place.
    """
    places = Places(calls_max=64, bytes_max=64, others_share=0.25)
    greedy, polite = Caller("greedy", share), Caller("polite")
    assert own_max == _taken(places, greedy, 0)
    assert (own_max, 0) == places.in_flight
    assert 64 - own_max == _taken(places, polite, 0)
    for _ in range(own_max):
        places.give(greedy, 0)
    assert (64 - own_max, 0) == places.in_flight


@given(size_bytes=st.integers(1, 300), share=st.integers(1, 4))
def test_one_callers_bytes_leave_others_a_part(size_bytes: int, share: int) -> None:
    """Whatever size its requests have, a caller holds no more than its part of the bytes."""
    places = Places(calls_max=1000, bytes_max=1000, others_share=0.25)
    _taken(places, Caller("greedy", share), size_bytes)
    _, held_bytes = places.in_flight
    assert 1000 * (1 - 0.25 / share) - size_bytes < held_bytes <= 1000 * (1 - 0.25 / share)
    others = int(1000 - held_bytes)
    places.take(Caller("polite"), min(others, 750))


def _taken(places: Places, caller: Caller, size_bytes: int) -> int:
    """Return how many places a caller gets before it is told that it has its share."""
    for taken in range(1001):
        try:
            places.take(caller, size_bytes)
        except ServerOverloaded as refused:
            assert "its share" in str(refused) or "as many calls" in str(refused)
            return taken
    raise AssertionError("no end")
