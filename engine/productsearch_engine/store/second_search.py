"""Searches a library by the embedding that it has beside the one that serves.

While that is being computed, images without its vector are not found. Reads only.
"""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg import errors, sql
from psycopg_pool import ConnectionPool

from productsearch_engine.embedding.interface import Vector
from productsearch_engine.limits import CANDIDATES
from productsearch_engine.store import tables
from productsearch_engine.store.images import Hit, LibraryGoneError, half
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.plans import Borders, Plan
from productsearch_engine.store.reembeddings import Other
from productsearch_engine.store.statements import ClassFilter


class SecondSearch:
    """The second embeddings of one database's libraries."""

    def __init__(self, pool: ConnectionPool[Any], borders: Borders | None = None):
        self._pool = pool
        self._borders = borders or Borders()

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
        is_small = self._borders.plan(library.image_count, None) is Plan.LIBRARY
        by_prefix = other.has_nearest and not is_filtered and not is_small
        statement = sql.SQL(_NEAREST if by_prefix else _SEARCH).format(
            second=tables.reembedding(library.id),
            nearest=tables.reembedding_nearest(library.id),
            axes=sql.Literal(other.axes),
            candidates=sql.Literal(CANDIDATES),
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
select sign, embedding <=> %(vector)s as distance, brief, digest = %(digest)s
from {second} where case when %(either)s
    then class_id1 = %(class_id1)s::int or class_id2 = %(class_id2)s::int
    else (%(class_id1)s::int is null or class_id1 = %(class_id1)s::int)
        and (%(class_id2)s::int is null or class_id2 = %(class_id2)s::int) end
order by distance, sign limit %(count)s
"""

_NEAREST: LiteralString = """
select i.sign, i.embedding <=> %(vector)s as distance, i.brief, i.digest = %(digest)s
from {second} i join (
    select sign from {nearest}
    order by prefix <=> (select nearest_prefix({axes}, %(vector)s)) limit {candidates}
) as c using (sign)
order by distance, sign limit %(count)s
"""
