"""Counts by key, for metrics: cheap to add to, read when somebody asks."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Generic, TypeVar

Key = TypeVar("Key")


class Tally(Generic[Key]):
    """How often, and how many seconds in all, for each key. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Key] = Counter()
        self._seconds: Counter[Key] = Counter()

    def add(self, key: Key, seconds: float = 0.0) -> None:
        """Count one."""
        with self._lock:
            self._counts[key] += 1
            self._seconds[key] += seconds  # type: ignore[assignment] # a Counter adds any number

    def counts(self) -> dict[Key, int]:
        """Return how often each key was counted."""
        with self._lock:
            return dict(self._counts)

    def seconds(self) -> dict[Key, float]:
        """Return the seconds that were added for each key."""
        with self._lock:
            return dict(self._seconds)
