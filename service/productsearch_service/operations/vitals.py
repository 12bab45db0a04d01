"""How a library and its upstream are doing: what readiness and metrics are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class TokenVitals:
    """The access token: its state and age (None: there is none), and requests for new ones."""

    state: str
    usable: bool
    age_s: float | None
    refreshes: Mapping[str, int]
    """By outcome: ``ok`` or the reason of the error."""


@dataclass(frozen=True, slots=True)
class PacerVitals:
    """The pacer: calls that wait, those that got their slot or were refused, and the rate.

    ``per_s`` is None where there is no quota.
    """

    waiting: int
    per_s: float | None
    outcomes: Mapping[str, int]
    """Calls by outcome: ``paced`` or ``refused``."""
    waited_s: float


@dataclass(frozen=True, slots=True)
class Vitals:
    """One library. ``calls`` and ``call_s`` are by method and outcome of attempts made."""

    token: TokenVitals
    pacer: PacerVitals
    breaker_open: bool
    """The upstream failed, and calls are kept away from it."""
    probe_due: bool
    """The breaker lets the next call through to see."""
    quota_exhausted: bool
    calls: Mapping[tuple[str, str], int]
    call_s: Mapping[tuple[str, str], float]
    retries: int

    @property
    def obstacle(self) -> str:
        """What keeps calls from being answered, or nothing; a used-up quota is no obstacle.

        With its quota used up, no other replica could do better.
        """
        if not self.token.usable:
            return "no valid token"
        if self.breaker_open and not self.probe_due:
            return "breaker open"
        return ""
