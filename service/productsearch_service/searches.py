"""Answers identical searches once: concurrent ones share a call, later ones a cached page.

Whether pages are kept, and how long, is the library's setting (off by default). Every write
through this service empties the cache; a search that began before a write is neither joined
nor kept after it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from cachetools import TTLCache

from productsearch_service import limits
from productsearch_service.errors import DeadlineTooShort, RateLimited, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from productsearch_service.calls import Page
    from productsearch_service.deadline import Deadline


class _Flight:
    """A search under way; once ``done`` is set, ``page``, ``error`` or neither is there."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.done = threading.Event()
        self.page: Page | None = None
        self.error: ServiceError | None = None


class Searches:
    """The searches of one library. Thread-safe."""

    def __init__(self, *, ttl_s: float = 0.0, entries_max: int = 1024) -> None:
        self._lock = threading.Lock()
        self._epoch = 0
        self._flights: dict[Hashable, _Flight] = {}
        self._pages: TTLCache[Hashable, Page] | None = (
            TTLCache(maxsize=entries_max, ttl=ttl_s) if ttl_s > 0 else None
        )

    def answer(self, key: Hashable, search: Callable[[], Page], deadline: Deadline) -> Page:
        """Return the page of ``key``: from the cache, from a twin under way, or by ``search``.

        A twin's error is shared too, unless the twin ran out of time: our deadline may be
        later than its was, so then we search for ourselves.
        """
        while True:
            with self._lock:
                cached = self._pages.get(key) if self._pages is not None else None
                if cached is not None:
                    return cached
                flight = self._flights.get(key)
                if flight is None or flight.epoch != self._epoch:
                    flight = self._flights[key] = _Flight(self._epoch)
                    break
            if not flight.done.wait(deadline.require()):
                continue
            if flight.page is not None:
                return flight.page
            if flight.error is not None:
                raise flight.error.again()
        return self._lead(key, flight, search, deadline)

    def forget(self) -> None:
        """Empty the cache: something was written to the library."""
        with self._lock:
            self._epoch += 1
            if self._pages is not None:
                self._pages.clear()

    def _lead(
        self, key: Hashable, flight: _Flight, search: Callable[[], Page], deadline: Deadline
    ) -> Page:
        try:
            page = flight.page = search()
        except ServiceError as error:
            in_time = deadline.remaining_s() > limits.CALL_MIN_S
            if in_time and not isinstance(error, RateLimited | DeadlineTooShort):
                flight.error = error
            raise
        finally:
            with self._lock:
                if self._flights.get(key) is flight:
                    del self._flights[key]
                current = flight.epoch == self._epoch
                if flight.page is not None and current and self._pages is not None:
                    self._pages[key] = flight.page
            flight.done.set()
        return page
