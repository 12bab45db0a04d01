"""Knows whether the database's disk has room for new vectors.

A PostgreSQL whose disk is full takes no adds, so a reembed stops before that.
"""

from __future__ import annotations

from collections.abc import Callable

from productsearch_engine.store.libraries import LibraryError

_ROW_BYTES = 400
"""What an image takes beside its vector: in the table, in its indexes, in the graph's links."""


class Room:
    """The room of a database; ``shortage`` is its watch's."""

    def __init__(self, shortage: Callable[[int], str | None]):
        self._shortage = shortage

    def require(self, vectors: int, dimensions: int) -> None:
        """Raise LibraryError unless so many vectors fit in and leave enough for adds.

        vectors: each counts once for the table and once for its index.
        """
        shortage = self._shortage(vectors * (2 * dimensions + _ROW_BYTES))
        if shortage is not None:
            raise LibraryError(f"{shortage}: make room, and run reembed again")
