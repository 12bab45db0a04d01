"""How much time a call has left; on the monotonic clock, so that no clock step matters."""

from __future__ import annotations

import time
from dataclasses import dataclass

from productsearch_service import limits
from productsearch_service.errors import DeadlineTooShort


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time on the monotonic clock, in seconds."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    @classmethod
    def of_call(cls, time_remaining_s: float | None) -> Deadline:
        """Return the deadline of a call whose caller waits that long (None: for ever).

        Raises DeadlineTooShort where no call to the upstream can be answered in time.
        """
        remaining_s = limits.CALL_CAP_S if time_remaining_s is None else time_remaining_s
        deadline = cls.after(min(remaining_s, limits.CALL_CAP_S) - limits.DEADLINE_SHAVE_S)
        deadline.require()
        return deadline

    def remaining_s(self) -> float:
        """Return the seconds left, 0 if it is past."""
        return max(0.0, self.at_s - time.monotonic())

    def require(self, seconds: float = limits.CALL_MIN_S) -> float:
        """Return the seconds left; raise DeadlineTooShort if they are fewer than ``seconds``."""
        remaining_s = self.remaining_s()
        if remaining_s < seconds:
            raise DeadlineTooShort(
                f"{remaining_s * 1000:.0f} ms are left of the deadline, fewer than the "
                f"{seconds * 1000:.0f} ms that a call to the upstream needs; set a longer one"
            )
        return remaining_s
