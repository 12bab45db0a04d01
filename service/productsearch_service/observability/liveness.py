"""Whether the event loop still ticks: the only thing that a restart mends.

A task notes the time on the loop; a thread looks at that note. So a loop that is blocked for good
is noticed, and a busy one is not killed. One that is late gets no new calls meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from productsearch_service import limits
from productsearch_service.periodic_task import PeriodicTask


class Liveness:
    """Calls ``tell`` with ``alive`` and ``in_time`` whenever one of them changes."""

    def __init__(self, tell: Callable[[bool, bool], None]) -> None:
        self._tell = tell
        self._ticked_at_s = time.monotonic()
        self._ticks = PeriodicTask("liveness", self._tick, limits.LIVENESS_POLL_S)
        self._closed = threading.Event()

    @property
    def alive(self) -> bool:
        """Whether the loop has ticked lately; may be asked from any thread."""
        return time.monotonic() - self._ticked_at_s < limits.LOOP_STALLED_S

    @property
    def in_time(self) -> bool:
        """Whether it has ticked so lately that calls would be answered; from any thread too."""
        return time.monotonic() - self._ticked_at_s < limits.LOOP_LATE_S

    def start(self) -> None:
        """Begin to tick and to watch. Needs a running event loop."""
        self._ticked_at_s = time.monotonic()
        self._ticks.start()
        threading.Thread(target=self._watch, name="liveness", daemon=True).start()

    async def stop(self) -> None:
        """End the ticks and the watch."""
        self._closed.set()
        await self._ticks.stop()

    async def _tick(self) -> None:
        self._ticked_at_s = time.monotonic()

    def _watch(self) -> None:
        told = (True, True)
        while not self._closed.wait(limits.LIVENESS_POLL_S):
            now = (self.alive, self.in_time)
            if now != told:
                told = now
                self._tell(*now)
