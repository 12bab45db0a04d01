"""When the next call may be made. The service's back-pressure decides; there is no rate to set."""

from __future__ import annotations

import asyncio
import time
from typing import Final

_FIRST_S: Final = 0.5
_MAX_S: Final = 15.0


class Stopped(Exception):
    """The import was told to stop before the call was made."""


class Pace:
    """Holds all callers of an import back for as long as the service asks for."""

    def __init__(self, patience_s: float) -> None:
        self._stop = asyncio.Event()
        self._until_s = 0.0
        self._outage_began_s: float | None = None
        self._outage_wait_s = _FIRST_S
        self._patience_s = patience_s
        self.waiting_for = ""
        """What the import waits for, for people; "" while it does not wait."""

    def stop(self) -> None:
        """Let no further call be made."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether no further call may be made."""
        return self._stop.is_set()

    async def ready(self) -> None:
        """Return when a call may be made. Raises Stopped."""
        while not self.stopped:
            left_s = self._until_s - time.monotonic()
            if left_s <= 0:
                self.waiting_for = ""
                return
            try:
                await asyncio.wait_for(self._stop.wait(), left_s)
            except TimeoutError:
                continue
        raise Stopped

    def wait(self, delay_s: float, reason: str) -> None:
        """Hold all calls back for ``delay_s``: the service said so."""
        self._until_s = max(self._until_s, time.monotonic() + delay_s)
        self.waiting_for = reason

    def unreachable(self, delay_s: float | None) -> bool:
        """Hold all calls back as in an outage; return whether patience is at its end."""
        now_s = time.monotonic()
        if self._outage_began_s is None:
            self._outage_began_s = now_s
        if now_s >= self._until_s:  # the callers that fail together double it once
            self._outage_wait_s = min(self._outage_wait_s * 2, _MAX_S)
            self.wait(max(delay_s or 0.0, self._outage_wait_s), "the service")
        return now_s - self._outage_began_s >= self._patience_s

    def answered(self) -> None:
        """Note that the service did its work."""
        self._outage_began_s = None
        self._outage_wait_s = _FIRST_S
