"""The state of one library's upstream at a moment: what readiness and metrics read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenStats:
    """The access token: its state, whether it can be used, and its age (None: there is none)."""

    state: str
    usable: bool
    age_s: float | None


@dataclass(frozen=True, slots=True)
class PacerStats:
    """The pacer: calls that wait for a slot, and slots a second (None: there is no quota)."""

    waiting: int
    calls_per_s: float | None


@dataclass(frozen=True, slots=True)
class UpstreamStats:
    """One library's upstream."""

    token: TokenStats
    pacer: PacerStats
    breaker_open: bool
    """Calls are kept away, because the upstream failed."""
    all_kept_away: bool
    """Those of all callers: failures that may be due to what was sent close it to some only."""
    probe_due: bool
    """The breaker lets the next call through as a probe."""
    quota_exhausted: bool

    @property
    def not_ready_reason(self) -> str:
        """Why calls cannot be answered, or nothing.

        A used-up quota is no reason: no other replica could do better.
        """
        if not self.token.usable:
            return "no valid token"
        if self.all_kept_away and not self.probe_due:
            return "breaker open"
        return ""
