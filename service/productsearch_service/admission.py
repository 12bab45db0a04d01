"""Bounds what one replica holds at a time, in all and for each caller. Over them: no, at once."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from productsearch_service import limits
from productsearch_service.errors import ServerOverloaded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from productsearch_service.access.callers import Caller


class Admission:
    """Counts calls and bytes in flight. Thread-safe.

    A caller alone may hold all places; once others are there, it must leave them a part, so that
    a flood from one leaves room for the rest: ``others_share`` of the places, divided by the
    caller's own share.
    """

    def __init__(self, *, calls_max: int, bytes_max: int, others_share: float) -> None:
        self._calls_max = calls_max
        self._bytes_max = bytes_max
        self._others_share = others_share
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._bytes = 0

    @contextmanager
    def admitted(self, caller: Caller, size_bytes: int) -> Iterator[None]:
        """Hold a place for one call with a request of ``size_bytes``; raise ServerOverloaded."""
        with self._lock:
            full = self._full(caller, size_bytes)
            if not full:
                self._calls[caller.name] += 1
                self._bytes += size_bytes
        if full:
            raise ServerOverloaded(full, retry_after_s=limits.OVERLOAD_RETRY_S)
        try:
            yield
        finally:
            with self._lock:
                self._bytes -= size_bytes
                self._calls[caller.name] -= 1
                if not self._calls[caller.name]:
                    del self._calls[caller.name]

    @property
    def in_flight(self) -> tuple[int, int]:
        """Calls and their bytes."""
        with self._lock:
            return self._calls.total(), self._bytes

    def _full(self, caller: Caller, size_bytes: int) -> str:
        """Return what is full, or nothing."""
        if self._calls.total() >= self._calls_max:
            return "this replica has as many calls under way as it may"
        if self._bytes + size_bytes > self._bytes_max:
            return "this replica holds as many bytes as it may"
        own = self._calls[caller.name]
        own_max = max(1, int(self._calls_max * (1 - self._others_share / caller.share)))
        if own >= own_max and own < self._calls.total():
            return "this caller has its share of this replica's calls under way"
        return ""
