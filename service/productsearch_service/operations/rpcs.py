"""Counts RPCs: how many ended how, and how long they took. Read by metrics."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from typing import Final

BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the histogram's buckets; one more takes what is longer."""


class Histogram:
    """How many took how long. Not thread-safe."""

    def __init__(self) -> None:
        self.buckets = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.buckets[bisect_left(BUCKETS_S, seconds)] += 1
        self.sum_s += seconds

    def copy(self) -> Histogram:
        """Return it as it is now."""
        other = Histogram()
        other.buckets, other.sum_s = self.buckets.copy(), self.sum_s
        return other


class RpcCounts:
    """RPCs that have ended. Thread-safe. Labels must come from bounded sets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: Counter[tuple[str, str, str]] = Counter()
        self._by_caller: Counter[tuple[str, str, str]] = Counter()
        self._durations: defaultdict[str, Histogram] = defaultdict(Histogram)

    def add(
        self, method: str, code: str, reason: str, caller: str, library: str, *, seconds: float
    ) -> None:
        """Count an RPC that ended with ``code`` and the reason of its error, if any."""
        with self._lock:
            self._ended[method, code, reason] += 1
            self._by_caller[caller, library, code] += 1
            self._durations[method].add(seconds)

    def ended(self) -> dict[tuple[str, str, str], int]:
        """Return the counts by method, code and reason."""
        with self._lock:
            return dict(self._ended)

    def by_caller(self) -> dict[tuple[str, str, str], int]:
        """Return the counts by caller, library and code."""
        with self._lock:
            return dict(self._by_caller)

    def durations(self) -> dict[str, Histogram]:
        """Return the histograms by method."""
        with self._lock:
            return {method: histogram.copy() for method, histogram in self._durations.items()}
