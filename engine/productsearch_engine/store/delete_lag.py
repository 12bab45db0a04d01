"""Searches that find deleted images for a while, as those of the vendor may.

A library's ``delete_lag_s`` says for how long. A trigger keeps what was deleted; the image itself
is gone at once: it can be added again, and neither updated nor deleted. Once it is stored again,
only the stored image is found.

Knows what was deleted. Does not know how stored images are found: ``store.images`` does.
"""

from __future__ import annotations

import heapq
from typing import Any, LiteralString

from psycopg import errors
from psycopg_pool import ConnectionPool

from productsearch_engine.embedding.interface import Vector
from productsearch_engine.limits import DELETED_FOUND_MAX, WINDOW
from productsearch_engine.store import statements
from productsearch_engine.store.images import Hit, Images, LibraryGoneError, half
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.statements import ClassFilter


class DeleteLag:
    """The searches of calls."""

    def __init__(self, pool: ConnectionPool[Any], images: Images):
        self._pool = pool
        self._images = images

    def search(
        self,
        library: Library,
        embedding: Vector,
        classes: ClassFilter,
        start: int,
        count: int,
        digest: bytes = b"",
    ) -> tuple[list[Hit], bool]:
        """Return ranks ``start`` to ``start + count``, best first, and whether more follow.

        Raises LibraryGoneError.
        """
        search = self._images.search
        end = min(start + count, WINDOW)
        gone = self._gone(library, embedding, classes, end + 1, digest)
        if not gone:
            return search(library, embedding, classes, start, count, digest)
        hits, more = search(library, embedding, classes, 0, end, digest)
        # One that was added again between the two is found once.
        found = {hit.sign for hit in hits}
        gone = [hit for hit in gone if hit.sign not in found]
        # In the order of both, whatever the page, so that pages agree.
        merged = [*heapq.merge(hits, gone, key=lambda hit: (-hit.cosine, hit.sign))]
        return merged[start:end], (more or len(merged) > end) and end < WINDOW

    def _gone(
        self, library: Library, embedding: Vector, classes: ClassFilter, count: int, digest: bytes
    ) -> list[Hit]:
        if not library.delete_lag_s:
            return []
        both = classes.class_id1 is not None and classes.class_id2 is not None
        values = {
            "embedding": half(embedding),
            "digest": digest,
            "generation": library.generation,
            "class_id1": classes.class_id1,
            "class_id2": classes.class_id2,
            "either": both and classes.any_class,
            "newest": DELETED_FOUND_MAX,
            "count": count,
        }
        try:
            with self._pool.connection() as connection:
                rows = connection.execute(statements.composed(_GONE, library), values).fetchall()
        except errors.UndefinedTable:
            raise LibraryGoneError from None
        return [
            Hit(sign=sign, cosine=min(1.0, max(-1.0, 1.0 - distance)), brief=brief, same=same)
            for sign, distance, brief, same in rows
        ]


# Of many deletes the last ones count, so that a search takes no longer than in a small library.
_GONE: LiteralString = """
with newest as materialized (
    select * from deleted_images
    where library_id = {library} and generation = %(generation)s and found_until > now()
    order by found_until desc limit %(newest)s
),
gone as (
    select distinct on (sign) * from newest n
    where not exists (
        select from {images} i where i.library_id = {library} and i.digest = n.digest
    )
    order by sign, found_until desc
)
select sign, embedding <=> %(embedding)b as distance, brief, digest = %(digest)s
from gone where case when %(either)s
    then class_id1 = %(class_id1)s::int or class_id2 = %(class_id2)s::int
    else (%(class_id1)s::int is null or class_id1 = %(class_id1)s::int)
        and (%(class_id2)s::int is null or class_id2 = %(class_id2)s::int) end
order by distance, sign limit %(count)s
"""
