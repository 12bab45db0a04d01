"""Counts of an import; what is shown and reported is computed from them."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tally:
    """Counts of one run. ``total`` is None until the source was counted."""

    total: int | None = None
    known_done: int = 0
    """Done in earlier runs."""
    known_rejected: int = 0
    """Rejected in earlier runs and unchanged."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """Of this run, by outcome."""
    rejected: int = 0
    """Rejected in this run."""
    calls: int = 0
    repeated: int = 0
    """Calls that were made once more after waiting."""
    began_s: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> int:
        """Entries that are in the library (with a dry run: found valid)."""
        return self.known_done + self.outcomes.total()

    @property
    def all_rejected(self) -> int:
        """Entries that are not."""
        return self.known_rejected + self.rejected

    @property
    def left(self) -> int | None:
        """Entries that were not dealt with yet; None while the total is not known."""
        return None if self.total is None else self.total - self.done - self.all_rejected

    @property
    def handled(self) -> int:
        """Entries that this run dealt with."""
        return self.outcomes.total() + self.rejected

    def line(self) -> str:
        """Return the sum that must hold."""
        return (
            f"done {self.done} + rejected {self.all_rejected} + left {self.left} "
            f"= total {self.total}"
        )

    def fields(self) -> dict[str, Any]:
        """Return the counts for programs."""
        return {
            "total": self.total,
            "done": self.done,
            "rejected": self.all_rejected,
            "left": self.left,
            "done_before": self.known_done,
            **{outcome: self.outcomes[outcome] for outcome in ("created", "kept", "updated")},
            **({"valid": self.outcomes["validated"]} if self.outcomes["validated"] else {}),
            "calls": self.calls,
            "repeated_calls": self.repeated,
            "seconds": round(time.monotonic() - self.began_s, 3),
        }
