"""Keeps calls away from an upstream that cannot answer them, and probes whether it can again.

Two kinds use it: the breaker (the upstream fails) and the quota of the day (17, 19). While the
gate is closed, calls are refused at once with the error that closed it; when its time is up one
call may pass as a probe. Its success opens the gate, its failure doubles the time.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from productsearch_service.errors import ServiceError


class Gate:
    """Closes after ``failures_max`` failures in a row. Thread-safe.

    ``tells_when`` puts the time until the next probe into the refusals as RetryInfo.
    """

    def __init__(
        self,
        *,
        failures_max: int,
        first_s: float,
        longest_s: float,
        tells_when: bool,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._failures_max = failures_max
        self._first_s = first_s
        self._longest_s = longest_s
        self._tells_when = tells_when
        self._clock = clock
        self._chance = chance
        self._lock = threading.Lock()
        self._failures = 0
        self._error: ServiceError | None = None
        self._wait_s = first_s
        self._probe_at_s = 0.0

    @property
    def closed(self) -> bool:
        """Whether calls are kept away."""
        return self._error is not None

    @property
    def probe_due(self) -> bool:
        """Whether it is closed and would let the next call pass as a probe."""
        with self._lock:
            return self._error is not None and self._clock() >= self._probe_at_s

    def check(self) -> None:
        """Let a call pass, or raise the error that closed the gate."""
        with self._lock:
            if self._error is None:
                return
            now_s = self._clock()
            if now_s >= self._probe_at_s:
                # Should the probe never report, another one follows after the same time.
                self._probe_at_s = now_s + self._wait_s
                return
            refusal = self._error.again()
            if self._tells_when:
                refusal.retry_after_s = self._probe_at_s - now_s
        raise refusal

    def succeeded(self) -> None:
        """Learn that a call was answered."""
        with self._lock:
            self._failures = 0
            self._error = None
            self._wait_s = self._first_s

    def failed(self, error: ServiceError) -> None:
        """Learn that a call failed in the way that this gate watches."""
        with self._lock:
            self._failures += 1
            if self._error is not None:
                self._wait_s = min(self._wait_s * 2, self._longest_s)
            elif self._failures < self._failures_max:
                return
            self._error = error
            self._probe_at_s = self._clock() + self._wait_s * self._chance(0.8, 1.0)
