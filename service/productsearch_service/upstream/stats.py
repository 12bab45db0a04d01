"""The state of one library's upstream at a moment: what readiness and metrics read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenStats:
    """The access token: its state, whether it can be used, its age and the time that it is still
    good for (None: there is none); whether a new key pair was refused, and the old one is used."""

    state: str
    usable: bool
    age_s: float | None
    left_s: float | None = None
    new_pair_refused: bool = False


@dataclass(frozen=True, slots=True)
class PacerStats:
    """The pacer: calls that wait for a slot, and slots a second (None: there is no quota).

    ``limit_per_s`` is this replica's part of the quota. ``headroom_s`` tells by caller for how many
    seconds more a call like its last one could wait; below zero the next one would be refused.
    """

    waiting: int
    calls_per_s: float | None
    limit_per_s: float | None = None
    headroom_s: Callable[[], Mapping[str, float]] = dict


@dataclass(frozen=True, slots=True)
class UpstreamStats:
    """One library's upstream."""

    token: TokenStats
    pacer: PacerStats
    breaker_open: bool
    """Calls are kept away, because the upstream failed."""
    is_outage: bool
    """Those of all, or of more than one caller, for what their inputs have no part in."""
    probe_due: bool
    """The breaker lets the next call through as a probe."""
    quota_exhausted: bool
    retries_left: float = 0.0
    """Retries that the budget has for this moment."""

    @property
    def not_ready_reason(self) -> str:
        """Why calls cannot be answered, or nothing.

        A used-up quota is no reason: no other replica could do better.
        """
        if not self.token.usable:
            return "no valid token"
        if self.is_outage and not self.probe_due:
            return "breaker open"
        return ""
