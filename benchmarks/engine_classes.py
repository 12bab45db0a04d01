"""Has the engine build indexes of classes, as it does for classes that are searched often."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from psycopg_pool import ConnectionPool

from benchmarks.engine_search import FILTERS
from benchmarks.engine_vectors import Drawn
from productsearch_engine.store.class_indexes import Bounds, Class, ClassIndexes
from productsearch_engine.store.images import Images
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.nearest_builds import NearestBuilds
from productsearch_engine.store.statements import ClassFilter

NONE: Final = Bounds(library=1 << 60)
"""Those of an engine that has no indexes of classes, and uses none."""


@dataclass(frozen=True)
class Built:
    """An index of a class. ``seconds``: how long it took; None: it was there before."""

    of: Class
    images: int
    size_bytes: int
    seconds: float | None


def built(pool: ConnectionPool[Any], library: Library, drawn: Drawn) -> list[Built]:
    """Search each class of the filters often, and let the engine build what it then builds.

    A look of the engine builds one index at the most, so it looks until one builds none.
    """
    single = [
        classes
        for classes in FILTERS.values()
        if (classes.class_id1 is None) is not (classes.class_id2 is None)
    ]
    indexes = ClassIndexes()
    images, builds = Images(pool, class_indexes=indexes), NearestBuilds(pool, class_indexes=indexes)
    seconds: dict[Class, float] = {}
    before = {of for of, _, _ in indexes.listed(pool, library)}
    while True:
        for classes in single:
            for _ in range(indexes.bounds.searches):
                images.search(library, drawn.queries[0], classes, 0, 10)
        began_s = time.perf_counter()
        builds.look()
        new = {of for of, _, _ in indexes.listed(pool, library)} - before - set(seconds)
        if not new:
            break
        seconds |= dict.fromkeys(new, time.perf_counter() - began_s)
    return [
        Built(of, size, size_bytes, seconds.get(of))
        for of, size, size_bytes in indexes.listed(pool, library)
    ]


def uses(classes: ClassFilter, some: list[Built]) -> bool:
    """Return whether a class of a filter has an index."""
    of = {each.of for each in some}
    return bool(of & {("class_id1", classes.class_id1), ("class_id2", classes.class_id2)})
