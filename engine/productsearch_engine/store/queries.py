"""The images that people searched with, and the vectors of stored images: what a search needs.

An image that was searched with is kept as its vector and a small copy, so that a result has an
address. Only a library's newest ones are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, LiteralString

import numpy as np
from psycopg import errors
from psycopg_pool import ConnectionPool

from productsearch_engine.embedding.interface import Vector
from productsearch_engine.limits import QUERIES_KEPT
from productsearch_engine.store import statements
from productsearch_engine.store.images import LibraryGoneError, half
from productsearch_engine.store.libraries import Library


@dataclass(frozen=True, kw_only=True)
class Query:
    """What is searched with: a vector, and the digest of its image."""

    vector: Vector
    digest: bytes


class Queries:
    """The searches of one database's libraries."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def keep(self, library: Library, digest: bytes, vector: Vector, webp: bytes) -> None:
        """Keep an image that is searched with, and forget the oldest ones."""
        values = {
            "library": library.id,
            "digest": digest,
            "generation": library.generation,
            "embedding": half(vector),
            "webp": webp,
            "kept": QUERIES_KEPT,
        }
        try:
            with self._pool.connection() as connection, connection.transaction():
                connection.execute(_KEEP, values)
                connection.execute(_FORGET, values)
        except errors.ForeignKeyViolation:
            raise LibraryGoneError from None

    def kept(self, library: Library, digest: bytes) -> Query | None:
        """Return what was searched with; None if it is forgotten, or of another embedding."""
        with self._pool.connection() as connection:
            row = connection.execute(
                "select embedding from query_images"
                " where library_id = %s and digest = %s and generation = %s",
                [library.id, digest, library.generation],
            ).fetchone()
        return None if row is None else Query(vector=_vector(row[0]), digest=digest)

    def copy(self, library: Library, digest: bytes) -> bytes | None:
        """Return the small copy of an image that was searched with as WebP."""
        with self._pool.connection() as connection:
            row = connection.execute(
                "select webp from query_images where library_id = %s and digest = %s",
                [library.id, digest],
            ).fetchone()
        return None if row is None else bytes(row[0])

    def stored(self, library: Library, sign: int) -> Query | None:
        """Return a stored image to search with, None if it is not there."""
        try:
            with self._pool.connection() as connection:
                row = connection.execute(statements.composed(_STORED, library), [sign]).fetchone()
        except errors.UndefinedTable:
            raise LibraryGoneError from None
        return None if row is None else Query(vector=_vector(row[0]), digest=bytes(row[1]))


def _vector(value: Any) -> Vector:
    return np.asarray(value.to_numpy(), np.float32)


_KEEP: LiteralString = """
insert into query_images (library_id, digest, generation, embedding, webp)
values (%(library)s, %(digest)s, %(generation)s, %(embedding)s, %(webp)s)
on conflict (library_id, digest) do update set generation = excluded.generation,
    embedding = excluded.embedding, webp = excluded.webp, asked_at = now()
"""
_FORGET: LiteralString = """
delete from query_images where library_id = %(library)s and digest in (
    select digest from query_images where library_id = %(library)s
    order by asked_at desc, digest offset %(kept)s
)
"""
_STORED: LiteralString = (
    "select embedding, digest from {images} where library_id = {library} and sign = %s"
)
