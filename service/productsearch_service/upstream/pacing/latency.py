"""A running estimate of how long the upstream takes to answer, so that admission can plan."""

from __future__ import annotations

from typing import Final

from productsearch_service import limits

_WEIGHT: Final = 0.125
_DEVIATIONS: Final = 5
_HALVED_IN_S: Final = 10.0
"""An estimate that nothing confirms halves in this time. Else callers whose deadlines are shorter
than the latency of a past outage would be refused for ever, and nothing new would be learnt."""


class Latency:
    """Mean and mean deviation of recent answers, kept as TCP keeps its round trips."""

    def __init__(self) -> None:
        self._mean_s = 0.0
        self._deviation_s = 0.0
        self._learnt_at_s = 0.0

    def learn(self, latency_s: float, now_s: float) -> None:
        """Take an answer into account."""
        difference_s = latency_s - self._mean_s
        self._mean_s += difference_s * _WEIGHT
        self._deviation_s += (abs(difference_s) - self._deviation_s) * _WEIGHT
        self._learnt_at_s = now_s

    def expected_s(self, now_s: float) -> float:
        """Return the seconds within which nearly all answers come, at least what any call needs."""
        usual_s = self._mean_s + _DEVIATIONS * self._deviation_s
        faded: float = 0.5 ** (max(0.0, now_s - self._learnt_at_s) / _HALVED_IN_S)
        return max(usual_s * faded, limits.CALL_MIN_S)
