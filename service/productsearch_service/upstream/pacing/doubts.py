"""Decides whether failures that may be due to what was sent mean that the upstream is down.

An image that the upstream cannot process, or a URL that it trips over, fails whenever it is sent,
and one caller may send many of them. So a failure counts by its input and its caller, and only
while the upstream answers nobody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

_SILENT_S: Final = 3.0
"""How long nobody may have been answered before such failures mean an outage."""
_SERVED_S: Final = 30.0
"""Who was answered this recently would see an outage too."""
_KEPT_S: Final = 30.0
"""A failure that none followed for this long is forgotten."""
_CALLERS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Suspect:
    """A request that failed: its input, when it was sent, and whether the upstream saw all of it.

    ``answered``: the upstream answered, with an error that the input may have caused.
    """

    input: int
    sent_at_s: float
    answered: bool


class Doubts:
    """Failures since the last answer, by input and caller. Times are in seconds of one clock."""

    def __init__(self, inputs_min: int) -> None:
        self._inputs_min = inputs_min
        self._inputs: set[int] = set()
        self._callers: set[str] = set()
        self._silent_since_s = self._latest_s = 0.0
        self._any_answered = False
        self._answered_at_s = -math.inf
        self._served: dict[str, float] = {}
        """When callers were last answered well."""

    @property
    def callers(self) -> tuple[str, ...]:
        """Whose requests failed since the last answer."""
        return tuple(self._callers)

    def answered(self, caller: str, now_s: float) -> None:
        """Learn that the upstream answered, so that it is not down."""
        self._answered_at_s = now_s
        if self._inputs:
            self._forget()
        if len(self._served) >= _CALLERS_MAX and caller not in self._served:
            self._served.clear()
        self._served[caller] = now_s

    def say_down(self, suspect: Suspect, caller: str, now_s: float) -> bool:
        """Learn of one more failure; return whether all of them mean that the upstream is down.

        They do if they are of different inputs, of a caller that was answered recently if there is
        one, and if nobody is answered for ``_SILENT_S``. A lone caller whose requests get no answer
        at all need not wait for that.
        """
        if now_s - self._latest_s > _KEPT_S:
            self._forget()
        if not self._inputs:
            self._silent_since_s = max(suspect.sent_at_s, self._answered_at_s)
        self._latest_s = now_s
        self._any_answered |= suspect.answered
        if len(self._inputs) < self._inputs_min:
            self._inputs.add(suspect.input)
        if len(self._callers) < _CALLERS_MAX:
            self._callers.add(caller)
        if len(self._inputs) < self._inputs_min:
            return False
        served = {name for name, at_s in self._served.items() if now_s - at_s < _SERVED_S}
        if served.isdisjoint(self._callers) and served:
            return False
        lone = len(served | self._callers) == 1
        return now_s - self._silent_since_s >= _SILENT_S or (lone and not self._any_answered)

    def _forget(self) -> None:
        self._inputs.clear()
        self._callers.clear()
        self._any_answered = False
