"""How long the upstream takes to answer just now, so that admission can plan."""

from __future__ import annotations

from collections import deque
from typing import Final

from productsearch_service import limits

_ANSWERS: Final = 32
_DEVIATIONS: Final = 5
_REMEMBERED_S: Final = 10.0
"""Nothing of a slow hour may stay: callers whose deadlines are shorter than its answers took would
be refused though the upstream is quick again, and nothing new would be learnt."""


class Latency:
    """Mean and mean deviation of the last answers."""

    def __init__(self) -> None:
        self._answers: deque[tuple[float, float]] = deque(maxlen=_ANSWERS)
        """When each came, and what it took."""

    def learn(self, latency_s: float, now_s: float) -> None:
        """Take an answer into account."""
        self._answers.append((now_s, latency_s))

    def expected_s(self, now_s: float) -> float:
        """Return the seconds within which nearly all answers come, at least what any call needs."""
        since_s = now_s - _REMEMBERED_S
        took = [took_s for at_s, took_s in self._answers if at_s > since_s]
        if not took:
            return limits.CALL_MIN_S
        mean_s = sum(took) / len(took)
        deviation_s = sum(abs(took_s - mean_s) for took_s in took) / len(took)
        return max(mean_s + _DEVIATIONS * deviation_s, limits.CALL_MIN_S)
