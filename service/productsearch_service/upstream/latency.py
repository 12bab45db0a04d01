"""A running estimate of how long the upstream takes to answer, so that admission can plan."""

from __future__ import annotations

from typing import Final

from productsearch_service import limits

_WEIGHT: Final = 0.125
_DEVIATIONS: Final = 5


class Latency:
    """Mean and mean deviation of recent answers, kept as TCP keeps its round trips.

    A lost update of two threads is harmless: it is an estimate.
    """

    def __init__(self) -> None:
        self._mean_s = 0.0
        self._deviation_s = 0.0

    def learn(self, latency_s: float) -> None:
        """Take an answer into account."""
        difference_s = latency_s - self._mean_s
        self._mean_s += difference_s * _WEIGHT
        self._deviation_s += (abs(difference_s) - self._deviation_s) * _WEIGHT

    @property
    def expected_s(self) -> float:
        """Seconds within which nearly all answers come, at least what any call needs."""
        return max(self._mean_s + _DEVIATIONS * self._deviation_s, limits.CALL_MIN_S)
