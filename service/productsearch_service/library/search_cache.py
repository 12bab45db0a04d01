"""Answers identical searches once: concurrent ones share a call, later ones a cached page.

Whether pages are kept, and how long, is the library's setting (off by default). Every write
through this replica empties the cache; a search that began before a write is neither joined
nor kept after it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final

from cachetools import TTLCache

from productsearch_service import limits
from productsearch_service.call_context import CallContext, Deadline
from productsearch_service.errors import DeadlineTooShort, RateLimited, ServiceError
from productsearch_service.upstream.answers import Page

_PAGE_BYTES: Final = 512
_HIT_BYTES: Final = 400
"""What a page, and each of its results, takes in memory beside the brief."""


@dataclass(eq=False, slots=True, repr=False)  # a task's repr shows the error that it waits for
class _Flight:
    """A search under way, in a task of its own, and how many wait for it."""

    key: Hashable
    epoch: int
    context: CallContext
    task: asyncio.Task[Page]
    waiters: int = 0


class SearchCache:
    """The searches of one library. ``bytes_max`` bounds the memory of cached pages."""

    def __init__(self, *, ttl_s: float = 0.0, bytes_max: int = limits.SEARCH_CACHE_BYTES) -> None:
        self._epoch = 0
        self._flights: dict[Hashable, _Flight] = {}
        self._bytes_max = bytes_max
        self.outcomes = {"hit": 0, "joined": 0, "searched": 0}
        """How searches were answered: from memory, by a twin under way, or by one of their own."""
        self.bytes_held = 0
        """Memory of the cached pages when one was last kept. Read in threads, where the cache
        itself may not be asked: it drops what is old."""
        self._pages: TTLCache[Hashable, Page] | None = (
            TTLCache(maxsize=bytes_max, ttl=ttl_s, getsizeof=_size_of) if ttl_s > 0 else None
        )

    async def answer(
        self, key: Hashable, search: Callable[[], Awaitable[Page]], context: CallContext
    ) -> Page:
        """Return the page of ``key``: from the cache, from a twin under way, or by ``search``.

        A twin's error is shared too, unless it is the twin's own: it ran out of time and our
        deadline may be later, or its caller was kept away and ours may not be. Then we search for
        ourselves.
        """
        deadline = context.deadline
        while True:
            cached = self._pages.get(key) if self._pages is not None else None
            if cached is not None:
                self.outcomes["hit"] += 1
                return cached
            flight = self._flights.get(key)
            if flight is None or flight.epoch != self._epoch or _queues_for(flight, context):
                flight = self._begin(key, search, context)
            mine = flight.context is context
            self.outcomes["searched" if mine else "joined"] += 1
            began_s = time.monotonic()
            try:
                return await self._landed(flight, deadline)
            except ServiceError as error:
                if mine:
                    raise
                if not _is_its_own(error, flight.context):
                    raise error.copy() from None
            finally:
                if not mine or flight.waiters:  # else the flight counts its time itself
                    context.trail.upstream_s += time.monotonic() - began_s
            deadline.require()

    def forget(self) -> None:
        """Empty the cache: something was written to the library."""
        self._epoch += 1
        if self._pages is not None:
            self._pages.clear()
            self.bytes_held = 0

    async def close(self) -> None:
        """End the searches under way."""
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(
        self, key: Hashable, search: Callable[[], Awaitable[Page]], context: CallContext
    ) -> _Flight:
        async def fly() -> Page:
            try:
                page = await search()
                if flight.epoch == self._epoch and self._pages is not None:
                    self._keep(self._pages, key, page)
                return page
            finally:
                self._close_to_others(flight)

        flight = _Flight(key, self._epoch, context, asyncio.create_task(fly(), name="search"))
        self._flights[key] = flight
        return flight

    def _keep(self, pages: TTLCache[Hashable, Page], key: Hashable, page: Page) -> None:
        if _size_of(page) <= self._bytes_max:
            pages[key] = page
            self.bytes_held = int(pages.currsize)

    async def _landed(self, flight: _Flight, deadline: Deadline) -> Page:
        """Wait for a flight; one that nobody waits for any more is cancelled."""
        flight.waiters += 1
        try:
            if flight.context.deadline is deadline:
                return await asyncio.shield(flight.task)
            async with deadline.timeout():
                return await asyncio.shield(flight.task)
        except TimeoutError:
            raise DeadlineTooShort(
                "the deadline ended while the same search of another call was under way"
            ) from None
        finally:
            flight.waiters -= 1
            if not flight.waiters:
                # Now, not when the task has ended: who joined until then would be cancelled too.
                self._close_to_others(flight)
                flight.task.cancel()

    def _close_to_others(self, flight: _Flight) -> None:
        """Let nobody join a flight from now on."""
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]


def _queues_for(flight: _Flight, context: CallContext) -> bool:
    """Whether a search waits for a slot in another caller's turn: ours may come earlier."""
    other = flight.context
    return other.trail.in_queue and other.caller.name != context.caller.name


def _is_its_own(error: ServiceError, context: CallContext) -> bool:
    """Whether a search failed for its caller or its deadline; another one may fare better."""
    late = context.deadline.remaining_s() <= limits.CALL_MIN_S
    local = error.upstream is None and isinstance(error, RateLimited | DeadlineTooShort)
    return late or local or not context.posts_begun


def _size_of(page: Page) -> int:
    return _PAGE_BYTES + sum(_HIT_BYTES + 4 * len(hit.brief) for hit in page.hits)
