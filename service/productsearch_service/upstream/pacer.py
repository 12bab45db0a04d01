"""Spaces calls so that the upstream's quota is used and not overrun.

A full quota window answered with error 18 costs a call and helps nobody, and a queue without
an end answers everyone too late. So each call gets the next free slot, in order of arrival,
and a call whose slot lies past its deadline is refused at once with the time to wait.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from productsearch_service import limits
from productsearch_service.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import Callable

    from productsearch_service.deadline import Deadline


class Pacer:
    """Slots for the calls of one library. Thread-safe.

    ``calls_per_s`` is this replica's part of the quota; 0 means that there is no quota.
    """

    def __init__(
        self,
        calls_per_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._interval_s = 1 / (calls_per_s * limits.QUOTA_SHARE) if calls_per_s else 0.0
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next_slot_s = 0.0

    def wait(self, deadline: Deadline) -> None:
        """Wait for the next free slot; raise RateLimited if it comes too late to be used."""
        if not self._interval_s:
            return
        with self._lock:
            now_s = self._clock()
            slot_s = max(now_s, self._next_slot_s)
            if slot_s > deadline.at_s - limits.CALL_MIN_S:
                raise RateLimited(
                    "more calls are waiting than the library's calls per second can answer "
                    "before the deadline",
                    retry_after_s=slot_s - now_s,
                )
            self._next_slot_s = slot_s + self._interval_s
        if slot_s > now_s:
            self._sleep(slot_s - now_s)
