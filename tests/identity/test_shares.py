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
from productsearch_service.upstream.pacing.pacer import Schedule
from productsearch_service.upstream.pacing.rate import Rate


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


def test_a_larger_share_leaves_less_to_others() -> None:
    """Of 64 places a caller of share 1 leaves 16 to others, one of share 4 leaves them 4."""
    for share, left in ((1, 16), (4, 4)):
        places = Places(calls_max=64, bytes_max=1, others_share=0.25)
        greedy = Caller("greedy", share)
        with contextlib.ExitStack() as held:
            held.enter_context(places.held(Caller("polite"), 0))
            for _ in range(64 - left):
                held.enter_context(places.held(greedy, 0))
            with pytest.raises(ServerOverloaded, match="its share"):
                held.enter_context(places.held(greedy, 0))
            assert (64 - left + 1, 0) == places.in_flight
        assert (0, 0) == places.in_flight
