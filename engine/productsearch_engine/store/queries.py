"""The images that people searched with, and the vectors of stored images: what a search needs.

An image that was searched with, or a part of it, is kept as its vector and a small copy, so that a
result has an address. Only a library's newest ones are kept.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import numpy as np
from psycopg import errors
from psycopg_pool import ConnectionPool

from productsearch_engine.embedding.interface import Box, Vector
from productsearch_engine.limits import QUERIES_KEPT
from productsearch_engine.store import statements
from productsearch_engine.store.images import LibraryGoneError, half
from productsearch_engine.store.libraries import Library


@dataclass(frozen=True, kw_only=True)
class Query:
    """What is searched with: a vector, and the digest of its image."""

    vector: Vector
    digest: bytes
    region: Box | None = None
    """The part of the image that was searched with; None: the whole."""
    subject: Box | None = None
    """Where the embedding found the product; None if it did not look, or nobody asked."""


class Queries:
    """The searches of one database's libraries."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def keep(self, library: Library, query: Query, webp: bytes) -> bytes:
        """Keep an image that is searched with, and forget the oldest ones.

        Returns its key: the image's digest, or one of the image and its part.
        """
        key = key_of(query)
        values = {
            "library": library.id,
            "key": key,
            "source": query.digest,
            "region": array(query.region),
            "subject": array(query.subject),
            "generation": library.generation,
            "embedding": half(query.vector),
            "webp": webp,
            "kept": QUERIES_KEPT,
        }
        try:
            with self._pool.connection() as connection, connection.transaction():
                connection.execute(_KEEP, values)
                connection.execute(_FORGET, values)
        except errors.ForeignKeyViolation:
            raise LibraryGoneError from None
        return key

    def kept(self, library: Library, key: bytes) -> Query | None:
        """Return what was searched with; None if it is forgotten, or of another embedding."""
        with self._pool.connection() as connection:
            row = connection.execute(
                "select embedding, coalesce(source, digest), region, subject from query_images"
                " where library_id = %s and digest = %s and generation = %s",
                [library.id, key, library.generation],
            ).fetchone()
        return None if row is None else query_of(*row)

    def copy(self, library: Library, key: bytes) -> bytes | None:
        """Return the small copy of an image that was searched with as WebP."""
        with self._pool.connection() as connection:
            row = connection.execute(
                "select webp from query_images where library_id = %s and digest = %s",
                [library.id, key],
            ).fetchone()
        return None if row is None else bytes(row[0])

    def stored(self, library: Library, sign: int) -> Query | None:
        """Return a stored image to search with, None if it is not there."""
        try:
            with self._pool.connection() as connection:
                values = {"sign": sign} | statements.at(sign)
                row = connection.execute(statements.composed(_STORED, library), values).fetchone()
        except errors.UndefinedTable:
            raise LibraryGoneError from None
        return None if row is None else query_of(row[0], row[1], row[2], None)


def key_of(query: Query) -> bytes:
    """Return the key under which a query is kept."""
    if query.region is None:
        return query.digest
    part = struct.pack("<4d", *query.region)
    return hashlib.sha256(query.digest + part).digest()


def array(box: Box | None) -> list[float] | None:
    """Return a box as it is stored."""
    return None if box is None else list(box)


def box(value: Sequence[float] | None) -> Box | None:
    """Return a box that was stored."""
    return None if value is None else Box(*value)


def query_of(
    vector: Any,
    digest: bytes,
    region: Sequence[float] | None,
    subject: Sequence[float] | None,
) -> Query:
    """Return a query of what is stored of it."""
    return Query(
        vector=_vector(vector), digest=bytes(digest), region=box(region), subject=box(subject)
    )


def _vector(value: Any) -> Vector:
    return np.asarray(value.to_numpy(), np.float32)


_KEEP: LiteralString = """
insert into query_images
    (library_id, digest, source, region, subject, generation, embedding, webp)
values (%(library)s, %(key)s, %(source)s, %(region)s, %(subject)s, %(generation)s, %(embedding)s,
    %(webp)s)
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
    "select i.embedding, i.digest, k.region from {images} i"
    " left join kept_images k using ({key})"
    " where library_id = {library} and sign = %(sign)s{at}"
)
