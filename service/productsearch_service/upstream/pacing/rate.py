"""How many calls a second: the quota's share, less while somebody else uses the key.

After an error 18 the rate falls by a fifth and grows back along a cubic curve: fast up to
just below where the error was, slowly past it, then fast again. So another user of the key
costs few errors, and when it stops the whole quota is back soon.
"""

from __future__ import annotations

from typing import Final

_FALL: Final = 0.8
_LOWEST_SHARE: Final = 0.05
_PLATEAU_S: Final = 9.0
"""Seconds from a fall until the rate is back where the error was."""
_ERRORS_OF_ONE_FALL_S: Final = 1.0
"""The upstream counts in windows of a second: errors this close together are one."""


class Rate:
    """Calls per second, learnt from errors 18. Times are of one clock."""

    def __init__(self, highest_per_s: float) -> None:
        self._highest_per_s = highest_per_s
        self._plateau_per_s = highest_per_s
        self._fell_s: float | None = None

    def per_s(self, now_s: float) -> float:
        """Return the rate now."""
        if self._fell_s is None:
            return self._highest_per_s
        # A cubic through (0, 0.8 plateau) and (PLATEAU_S, plateau), flat at the plateau.
        part = (now_s - self._fell_s - _PLATEAU_S) / _PLATEAU_S
        grown_per_s = self._plateau_per_s * (1 + (1 - _FALL) * part**3)
        if grown_per_s >= self._highest_per_s:
            self._fell_s = None
            return self._highest_per_s
        return max(grown_per_s, self._highest_per_s * _LOWEST_SHARE)

    def interval_s(self, now_s: float) -> float:
        """Return the seconds between two calls."""
        return 1 / self.per_s(now_s)

    def exceeded(self, now_s: float) -> None:
        """Note an error 18."""
        if self._fell_s is not None and now_s - self._fell_s < _ERRORS_OF_ONE_FALL_S:
            return
        self._plateau_per_s = self.per_s(now_s)
        self._fell_s = now_s
