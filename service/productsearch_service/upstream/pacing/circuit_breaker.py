"""Keeps calls away from an upstream that cannot answer them, and probes whether it can again.

Two use it: the breaker of an upstream that fails, and the quota of the day (17, 19). Its states are
the usual ones. *Closed*: calls pass. *Open*: calls are refused at once with the error that opened
it. *Half-open*: its time is up, and one call passes as a probe; the probe's success closes the
breaker, its failure opens it for twice the time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from productsearch_service.errors import ServiceError


class CircuitBreaker:
    """Opens after ``failures_max`` failures in a row.

    ``tells_when`` puts the time until the next probe into the refusals as RetryInfo. Times are in
    seconds of ``clock``.
    """

    def __init__(
        self,
        *,
        failures_max: int,
        open_s: float,
        open_max_s: float,
        tells_when: bool,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._failures_max = failures_max
        self._open_s = open_s
        self._open_max_s = open_max_s
        self._tells_when = tells_when
        self._clock = clock
        self._chance = chance
        self._failures = 0
        self._error: ServiceError | None = None
        self._wait_s = open_s
        self._probe_at_s = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether calls are kept away; true while a probe is under way, too."""
        return self._error is not None

    @property
    def probe_due(self) -> bool:
        """Whether it is half-open: the next call passes as a probe."""
        return self.is_open and not self._probing and self._clock() >= self._probe_at_s

    def check(self) -> None:
        """Raise the error that opened it, unless it is closed or half-open."""
        if self._error is None or self.probe_due:
            return
        refusal = self._error.copy()
        if self._tells_when:
            refusal.retry_after_s = max(self._probe_at_s - self._clock(), self._open_s / 2)
        raise refusal

    @contextmanager
    def passed(self) -> Iterator[Callable[[ServiceError | None], None]]:
        """Let a call pass that goes out now; raises as ``check``.

        Yields what reports the outcome: None if the upstream answered, else the failure. A probe
        that ends without a report leaves the next call to be the probe.
        """
        self.check()
        probe = self._probing = self._error is not None
        try:
            yield lambda error: self._learn(error, probe=probe)
        finally:
            if probe:
                self._probing = False

    def _learn(self, error: ServiceError | None, *, probe: bool) -> None:
        if error is None:
            self._failures, self._error, self._wait_s = 0, None, self._open_s
            return
        self._failures += 1
        if self._error is None and self._failures < self._failures_max:
            return
        if self._error is not None:
            if not probe:  # it went out before the breaker opened, and says nothing new
                return
            self._wait_s = min(self._wait_s * 2, self._open_max_s)
        self._error = error
        self._probe_at_s = self._clock() + self._wait_s * self._chance(0.8, 1.0)
