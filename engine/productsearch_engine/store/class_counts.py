"""How many images of a library have a class: counted in the class's index, and remembered.

A count ends where it no longer matters: beyond ``enough`` a class is common, however common. It is
remembered for a minute, because only the speed of a search depends on it, never its answer. Nothing
is written when images are added, changed or deleted, so these do not wait for each other.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import psycopg

from productsearch_engine.limits import CLASS_COUNT_REMEMBERED_S, CLASS_COUNTS_MAX
from productsearch_engine.store import statements
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.statements import ClassColumn, ClassFilter

_Class = tuple[int, int, ClassColumn, int]


@dataclass(frozen=True)
class _Count:
    images: int
    enough: int
    counted_s: float

    def tells(self, enough: int) -> bool:
        """Return whether it is fresh, and went as far as is asked now."""
        fresh = time.monotonic() - self.counted_s < CLASS_COUNT_REMEMBERED_S
        return fresh and (self.images < self.enough or enough <= self.enough)


class ClassCounts:
    """The counts of one engine; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[_Class, _Count] = OrderedDict()

    def __len__(self) -> int:
        """Return how many classes are remembered."""
        return len(self._known)

    def images(
        self,
        connection: psycopg.Connection[Any],
        library: Library,
        classes: ClassFilter,
        enough: int,
    ) -> dict[ClassColumn, int]:
        """Return how many images each class of a filter has; counted to ``enough`` only."""
        wanted: dict[ClassColumn, int | None] = {
            "class_id1": classes.class_id1,
            "class_id2": classes.class_id2,
        }
        return {
            column: self._count(connection, library, column, class_id, enough)
            for column, class_id in wanted.items()
            if class_id is not None
        }

    def _count(
        self,
        connection: psycopg.Connection[Any],
        library: Library,
        column: ClassColumn,
        class_id: int,
        enough: int,
    ) -> int:
        key = (library.id, library.generation, column, class_id)
        with self._lock:
            known = self._known.get(key)
            if known is not None and known.tells(enough):
                self._known.move_to_end(key)
                return min(known.images, enough)
        values = {"class_id": class_id, "enough": enough}
        row = connection.execute(statements.count(library, column), values).fetchone()
        images = int(row[0]) if row else 0
        with self._lock:
            self._known[key] = _Count(images, enough, time.monotonic())
            self._known.move_to_end(key)
            if len(self._known) > CLASS_COUNTS_MAX:
                self._known.popitem(last=False)
        return images
