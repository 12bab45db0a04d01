"""Bounds what one replica holds at a time: calls and bytes in flight. Over them: no, at once."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from productsearch_service import limits
from productsearch_service.errors import ServerOverloaded

if TYPE_CHECKING:
    from collections.abc import Iterator


class Admission:
    """Counts calls and bytes in flight. Thread-safe."""

    def __init__(
        self,
        *,
        calls_max: int,
        bytes_max: int,
    ) -> None:
        self._calls_max = calls_max
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._calls = 0
        self._bytes = 0

    @contextmanager
    def admitted(self, size_bytes: int) -> Iterator[None]:
        """Hold a place for one call with a request of ``size_bytes``; raise ServerOverloaded."""
        with self._lock:
            full = self._calls >= self._calls_max or self._bytes + size_bytes > self._bytes_max
            if not full:
                self._calls += 1
                self._bytes += size_bytes
        if full:
            raise ServerOverloaded(
                "this replica has as many calls under way as it may",
                retry_after_s=limits.OVERLOAD_RETRY_S,
            )
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1
                self._bytes -= size_bytes
