"""Makes deletes of an embedding before undoable: their images get vectors of the present one.

The vectors are made from the small copies that the journal keeps. Does not make them itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, LiteralString

from psycopg_pool import ConnectionPool

from productsearch_engine.embedding.interface import Vector
from productsearch_engine.store.images import half
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.second_rows import Copy, copy_of


class Renewals:
    """The outdated vectors in the journals of one database's libraries."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def copies(self, library: Library, change: int, count: int) -> list[Copy]:
        """Return small copies of up to ``count`` images that a change has deleted.

        Of those whose vectors are of another embedding than the library's.
        """
        values = _values(library, change) | {"count": count}
        with self._pool.connection() as connection:
            rows = connection.execute(_COPIES, values, binary=True).fetchall()
        return [copy_of(*row) for row in rows]

    def left(self, library: Library, change: int, most: int) -> int:
        """Return how many images ``copies`` would give in all; counted to ``most``."""
        values = _values(library, change) | {"count": most}
        with self._pool.connection() as connection:
            row = connection.execute(_LEFT, values).fetchone()
        return int(row[0]) if row else 0

    def store(self, library: Library, change: int, vectors: Mapping[int, Vector]) -> None:
        """Give deleted images, by sign, vectors of the library's embedding."""
        known = _values(library, change)
        rows = [
            known | {"sign": sign, "embedding": half(vector)} for sign, vector in vectors.items()
        ]
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.executemany(_STORE, rows)


def _values(library: Library, change: int) -> dict[str, Any]:
    return {"library": library.id, "generation": library.generation, "change": change}


_OUTDATED: LiteralString = """
from changed_images
where change_id = %(change)s and library_id = %(library)s and digest is not null
    and webp is not null and generation <> %(generation)s
"""
_COPIES: LiteralString = "select sign, webp, region OUTDATED order by sign limit %(count)s".replace(
    "OUTDATED", _OUTDATED
)
_LEFT: LiteralString = "select count(*) from (select sign OUTDATED limit %(count)s) as o".replace(
    "OUTDATED", _OUTDATED
)
_STORE: LiteralString = """
update changed_images set embedding = %(embedding)s, generation = %(generation)s
where change_id = %(change)s and library_id = %(library)s and sign = %(sign)s
"""
