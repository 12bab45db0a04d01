"""How many images have each class id, as the page of images tells it.

Those of a large library are up to a minute old, but for what the visitor has changed: that is told
at once. Knows the store. Does not know how a page looks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from productsearch_engine.console.rooms import Rooms
from productsearch_engine.console.visit import Visit
from productsearch_engine.store.class_changes import Differences
from productsearch_engine.store.gallery import FACETS_MAX, Facets

_LARGE = 50_000
_FACETS_S, _LARGE_FACETS_S = 2.0, 60.0
_LIBRARIES_MAX = 256


@dataclass(frozen=True, kw_only=True)
class _Known:
    facets: Facets
    until: float
    """On the monotonic clock."""
    change: int
    """The last change of the library that they have for sure."""


class FacetCounts:
    """Counts of class ids by library, remembered for a while."""

    def __init__(self, rooms: Rooms, large: int = _LARGE):
        self._rooms = rooms
        self._large = large
        self._known: dict[int, _Known] = {}

    async def of(self, visit: Visit) -> Facets:
        """Return the counts of the visitor's library, with what they have changed themselves."""
        library, change = visit.library, visit.last_change or 0
        known = self._known.get(library.id)
        if known is None or known.until < time.monotonic():
            known = await self._counted(visit)
        elif known.change < change:
            is_large = library.image_count > self._large
            later = await self._later(visit, known, change) if is_large else None
            known = later or await self._counted(visit)
        if len(self._known) >= _LIBRARIES_MAX:
            self._known.clear()
        self._known[library.id] = known
        return known.facets

    async def _counted(self, visit: Visit) -> _Known:
        stores, library = self._rooms.stores, visit.library
        # Before the count: it has all changes up to this one.
        change = await self._rooms.in_thread(stores.class_changes.last, library)
        facets = await self._rooms.in_thread(stores.gallery.facets, library)
        lasts_s = _LARGE_FACETS_S if library.image_count > self._large else _FACETS_S
        # A number that is none of a change of this library asks for nothing twice.
        change = max(change, visit.last_change or 0)
        return _Known(facets=facets, until=time.monotonic() + lasts_s, change=change)

    async def _later(self, visit: Visit, known: _Known, change: int) -> _Known | None:
        """Return counts with what changed since; None: they have to be made anew."""
        between = self._rooms.stores.class_changes.between
        found = await self._rooms.in_thread(between, visit.library, known.change, change)
        if found is None:
            return None
        first, second = found
        facets = Facets(
            class_id1=with_differences(known.facets.class_id1, first),
            class_id2=with_differences(known.facets.class_id2, second),
        )
        return _Known(facets=facets, until=known.until, change=change)


def with_differences(
    counts: list[tuple[int, int]], differences: Differences
) -> list[tuple[int, int]]:
    """Return counts with differences, the most frequent first."""
    known = dict(counts)
    # Of a class id that is none of the most frequent ones nobody knows the count.
    are_all = len(counts) < FACETS_MAX
    for class_id, difference in differences.items():
        if class_id in known or are_all:
            known[class_id] = known.get(class_id, 0) + difference
    found = ((class_id, count) for class_id, count in known.items() if count > 0)
    return sorted(found, key=lambda each: (-each[1], each[0]))[:FACETS_MAX]
