"""Searches a library by the embedding that it has beside the one that serves.

While that is being computed, images without its vector are not found. Reads only.
"""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg import errors, sql
from psycopg_pool import ConnectionPool

from productsearch_engine.embedding.interface import Vector
from productsearch_engine.store import tables
from productsearch_engine.store.images import Hit, LibraryGoneError, half
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.reembeddings import Other
from productsearch_engine.store.statements import ClassFilter


class SecondSearch:
    """The second embeddings of one database's libraries."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def hits(
        self,
        library: Library,
        other: Other,
        vector: Vector,
        classes: ClassFilter,
        digest: bytes,
        count: int,
    ) -> list[Hit]:
        """Return the first ``count`` hits. Raises LibraryGoneError: there is no second one."""
        is_filtered = classes.class_id1 is not None or classes.class_id2 is not None
        # A filter and the index of the vectors together lose hits; the sum keeps the index out.
        statement = sql.SQL(_SEARCH).format(
            second=tables.reembedding(library.id),
            dimensions=sql.Literal(other.dimensions),
            exact=sql.SQL("+ 0" if is_filtered else ""),
        )
        both = classes.class_id1 is not None and classes.class_id2 is not None
        values = {
            "vector": half(vector),
            "digest": digest,
            "class_id1": classes.class_id1,
            "class_id2": classes.class_id2,
            "either": both and classes.any_class,
            "count": count,
        }
        try:
            with self._pool.connection() as connection:
                rows = connection.execute(statement, values).fetchall()
        except errors.UndefinedTable:
            raise LibraryGoneError from None
        return [
            Hit(sign=sign, cosine=min(1.0, max(-1.0, 1.0 - distance)), brief=brief, same=same)
            for sign, distance, brief, same in rows
        ]


_SEARCH: LiteralString = """
select sign, (embedding::halfvec({dimensions}) <=> %(vector)s) {exact} as distance, brief,
    digest = %(digest)s
from {second} where case when %(either)s
    then class_id1 = %(class_id1)s::int or class_id2 = %(class_id2)s::int
    else (%(class_id1)s::int is null or class_id1 = %(class_id1)s::int)
        and (%(class_id2)s::int is null or class_id2 = %(class_id2)s::int) end
order by distance, sign limit %(count)s
"""
