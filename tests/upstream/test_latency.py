"""What an upstream took in a slow hour is not held against callers once it is quick again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from productsearch_service import limits
from productsearch_service.upstream.pacing.latency import Latency

_QUICK_S = 0.1
_FORGOTTEN_S = 10.0


@given(
    slow=st.lists(st.floats(3, 30), min_size=1, max_size=100),
    deadline_s=st.floats(1, 3),
    interval_s=st.floats(0.01, 5),
)
def test_an_upstream_that_is_quick_again_is_soon_asked_again(
    slow: list[float], deadline_s: float, interval_s: float
) -> None:
    """Calls with short deadlines are refused for ten seconds at most, and then never again."""
    latency, now_s = Latency(), 0.0
    for took_s in slow:
        now_s += 0.2
        latency.learn(took_s, now_s)
    recovered_s, refused_s = now_s, []
    for _ in range(200):
        now_s += interval_s
        if latency.expected_s(now_s) > deadline_s:
            refused_s.append(now_s - recovered_s)
        else:
            latency.learn(_QUICK_S, now_s)
    assert all(at_s < _FORGOTTEN_S + 0.001 for at_s in refused_s)


def test_one_slow_answer_among_many_refuses_nobody_with_three_seconds() -> None:
    """It says little of the next one."""
    latency = Latency()
    for count in range(32):
        latency.learn(7 if count == 9 else _QUICK_S, count / 10)
    assert 3 > latency.expected_s(3.2) > _QUICK_S


def test_a_slow_upstream_is_known_by_its_first_answer() -> None:
    """Nearly all answers come in what is expected; without any, whatever a call needs is."""
    latency = Latency()
    assert limits.CALL_MIN_S == latency.expected_s(0)
    latency.learn(7, 0)
    assert latency.expected_s(1) == 7
