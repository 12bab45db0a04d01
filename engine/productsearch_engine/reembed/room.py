"""Knows whether the database's disk has room for new vectors.

A PostgreSQL whose disk is full takes no adds, so a reembed stops before that. Of a database
elsewhere it is only known that a statement failed for want of room.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from productsearch_engine.limits import DISK_FREE_MIN, DISK_RESERVE_BYTES
from productsearch_engine.store.libraries import LibraryError

_ROW_BYTES = 400
"""What an image takes beside its vector: in the table, in its indexes, in the graph's links."""


class Room:
    """The disk of the folder ``data``; None: the database is elsewhere."""

    def __init__(self, is_full: Callable[[], bool], data: Path | None):
        self._is_full = is_full
        self._data = data

    def require(self, vectors: int, dimensions: int) -> None:
        """Raise LibraryError unless so many vectors fit in and leave enough for adds.

        vectors: each counts once for the table and once for its index.
        """
        if self._is_full():
            raise LibraryError("the database's disk is full: make room, and run reembed again")
        if self._data is None:
            return
        needed = vectors * (2 * dimensions + _ROW_BYTES)
        free = shutil.disk_usage(self._data).free - DISK_FREE_MIN - DISK_RESERVE_BYTES
        if free < needed:
            raise LibraryError(
                f"the new vectors take about {needed >> 20} MiB more, and the database's disk has"
                f" {max(free, 0) >> 20} MiB for them: make room, and run reembed again"
            )
