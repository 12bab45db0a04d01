"""The images of a library: add, find, search, update, delete, each in one round trip.

Answers for duplicates (a unique constraint on the digest), for collisions of signs, for
capacity, and for pages that neither overlap nor leave gaps. Statements name the library's
own partition, so a dropped library is an error of the database, never an empty answer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from pgvector import HalfVector
from psycopg import errors
from psycopg_pool import ConnectionPool

from productsearch_engine.embedding.interface import Box, Vector
from productsearch_engine.limits import SIGN_ATTEMPTS_MAX, WINDOW
from productsearch_engine.store import adds, bucketed, originals, room, signs, statements
from productsearch_engine.store.adds import Tried
from productsearch_engine.store.class_counts import ClassCounts
from productsearch_engine.store.class_indexes import ClassIndexes
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.originals import Original
from productsearch_engine.store.plans import Borders, Plan
from productsearch_engine.store.recall import RecallSample
from productsearch_engine.store.statements import ClassFilter, Key

_log = logging.getLogger(__name__)


class LibraryGoneError(Exception):
    """The library was deleted since it was looked up."""


class LibraryFullError(Exception):
    """The library has no room for another image."""


class DuplicateError(Exception):
    """The library already has this image; ``sign`` is its sign."""

    def __init__(self, sign: int):
        self.sign = sign
        super().__init__(signs.to_text(sign))


@dataclass(frozen=True, kw_only=True)
class NewImage:
    """An image to store. ``digest`` is the SHA-256 of its bytes, ``brief`` is UTF-8."""

    digest: bytes
    brief: bytes
    class_id1: int | None
    class_id2: int | None
    embedding: Vector
    kept: bytes | None = None
    """A small copy of it as WebP, for libraries that keep one."""
    region: Box | None = None
    """Where the product is in it, if the caller said so; kept with the copy."""
    original: Original | None = None
    """Its file, as far as it is known."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """A stored image; ``copy_missing``: its library keeps small copies and has none of it."""

    sign: int
    copy_missing: bool


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One result. ``cosine`` is -1 to 1; ``same``: it is the very image searched with."""

    sign: int
    cosine: float
    brief: bytes
    same: bool


class Images:
    """The images of one database's libraries.

    ``derive`` makes signs; a test that needs collisions replaces it. ``borders`` are where a search
    goes from one plan to another; a test lowers them. ``sample`` is offered searches by the index,
    ``class_indexes`` knows classes that have one.
    """

    def __init__(
        self,
        pool: ConnectionPool[Any],
        derive: signs.Derivation = signs.derive,
        borders: Borders | None = None,
        sample: RecallSample | None = None,
        class_indexes: ClassIndexes | None = None,
    ):
        self._pool = pool
        self._derive = derive
        self._borders = borders or Borders()
        self._counts = ClassCounts()
        self._sample = sample
        self._class_indexes = class_indexes or ClassIndexes()

    def find(self, library: Library, digest: bytes) -> Known | None:
        """Return a stored image, or None. Raises LibraryGoneError."""
        with self._connection() as connection:
            values = {"digest": digest} | statements.at_digest(digest)
            row = connection.execute(statements.find(library), values).fetchone()
        return None if row is None else Known(sign=int(row[0]), copy_missing=bool(row[1]))

    def keep(self, library: Library, sign: int, webp: bytes, region: Box | None = None) -> None:
        """Keep a small copy of a stored image, if it is still stored. Raises LibraryGoneError."""
        values = {"sign": sign, "kept": webp, "region": _array(region)}
        with self._connection() as connection:
            if library.bucketed:
                bucketed.keep(connection, library, values)
            else:
                connection.execute(statements.keep(library), values)

    def copies(self, library: Library, signs: Sequence[int]) -> list[bytes]:
        """Return the small copy of each image, empty for one without. Raises LibraryGoneError."""
        with self._connection() as connection:
            rows = connection.execute(
                statements.copies(library),
                {"signs": list(signs)} | statements.among(signs),
                binary=True,
            ).fetchall()
        found = dict(rows)
        return [bytes(found.get(sign, b"")) for sign in signs]

    def add(self, library: Library, image: NewImage) -> int:
        """Store an image and return its sign, committed and flushed.

        Raises DuplicateError, LibraryFullError, LibraryGoneError.
        """
        attempt = 0
        for _ in range(2 * SIGN_ATTEMPTS_MAX):
            sign = self._derive(image.digest, attempt)
            tried = self._try_to_add(library, image, sign)
            if tried.added:
                return sign
            if tried.known is not None:
                raise DuplicateError(tried.known)
            # Neither stored nor refused: the sign belongs to another image, or the same
            # image was committed by another call while this one waited for it.
            attempt += 1 if tried.taken else 0
        raise RuntimeError("no free sign found")

    def _try_to_add(self, library: Library, image: NewImage, sign: int) -> Tried:
        values = {
            "sign": sign,
            "digest": image.digest,
            "brief": image.brief,
            "class_id1": image.class_id1,
            "class_id2": image.class_id2,
            "embedding": half(image.embedding),
        } | originals.values(image.original)
        if library.keep_images:
            values |= {"kept": image.kept, "region": _array(image.region)}
        with self._connection() as connection:
            values["stripe"] = room.stripe(connection)
            tried = adds.attempt(connection, library, values)
            if tried.has_room:
                return tried
            with room.turn(connection, library):
                while True:
                    lent = room.lend(connection, library)
                    if lent is None:
                        raise LibraryGoneError
                    if lent < 1:
                        raise LibraryFullError
                    tried = adds.attempt(connection, library, values)
                    if tried.has_room:
                        return tried

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

        ``digest`` is of the image searched with, if a hit is to say that it is the same.
        Raises LibraryGoneError.
        """
        last = min(start + count, WINDOW)
        # One row more than asked for shows whether more follow.
        rows_wanted = max(last - start, 0) + 1
        values = {
            "embedding": half(embedding),
            "digest": digest,
            "class_id1": classes.class_id1,
            "class_id2": classes.class_id2,
            "start": start,
            "count": rows_wanted,
            "candidates": statements.candidates_of(library, start, rows_wanted),
        }
        with self._connection() as connection:
            rows = self._ranked(connection, library, classes, values)
        # A distance that is not a number, of a vector of zeros, becomes cosine -1.
        hits = [
            Hit(sign=sign, cosine=min(1.0, max(-1.0, 1.0 - distance)), brief=brief, same=same)
            for sign, distance, brief, same in rows[: last - start]
        ]
        return hits, len(rows) > last - start and last < WINDOW

    def _ranked(
        self,
        connection: psycopg.Connection[Any],
        library: Library,
        classes: ClassFilter,
        values: dict[str, Any],
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a page, found by the plan for this library and filter."""
        stored = library.image_count
        enough = max(self._borders.rare_max(stored) + 1, self._class_indexes.bounds.large)
        passing = self._counts.passing(connection, library, classes, enough)
        has_index = passing is not None and self._class_indexes.serves(
            connection, library, classes, passing
        )
        plan = self._borders.plan(stored, passing, has_index=has_index)
        _log.debug("library %d: %s of %d images pass: %s", library.id, passing, stored, plan.value)
        values = values | statements.prefix_of(connection, library, values["embedding"])
        rows = connection.execute(
            statements.search(library, classes, plan), values, binary=True
        ).fetchall()
        if plan is Plan.NEAREST and self._sample is not None:
            self._sample.offer(library, values["embedding"], values["start"] + values["count"] - 1)
        wanted = min(values["count"], WINDOW + 1 - values["start"])
        if plan not in (Plan.NEAREST, Plan.CLASS_INDEX) or len(rows) >= wanted:
            return rows
        # An index does not have vectors of zeros, and finds no more than the candidates.
        statement = statements.search(library, classes, Plan.LIBRARY)
        return connection.execute(statement, values, binary=True).fetchall()

    def update(
        self,
        library: Library,
        key: Key,
        *,
        brief: bytes | None,
        class_id1: int | None,
        class_id2: int | None,
    ) -> bool:
        """Change the values of one image that are not None; return whether it is stored.

        Raises LibraryGoneError.
        """
        values = {"brief": brief, "class_id1": class_id1, "class_id2": class_id2, "key": key}
        with self._connection() as connection:
            if library.bucketed:
                return bucketed.update(connection, library, key, values)
            return connection.execute(statements.update(library, key), values).rowcount > 0

    def delete(self, library: Library, key: Key) -> int:
        """Delete all of the images, or none if one is not stored; return how many.

        Raises LibraryGoneError.
        """
        wanted = 1 if isinstance(key, bytes) else len(set(key))
        values = {"key": key, "wanted": wanted}
        with self._connection() as connection:
            if library.bucketed:
                return bucketed.delete(connection, library, key, wanted)
            row = connection.execute(statements.delete(library, key), values).fetchone()
        return 0 if row is None else int(row[0])

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            with self._pool.connection() as connection:
                yield connection
        except errors.UndefinedTable:
            raise LibraryGoneError from None


def _array(region: Box | None) -> list[float] | None:
    return None if region is None else list(region)


def half(vector: Vector) -> HalfVector:
    """Return a vector as it is stored."""
    return HalfVector(vector.astype(np.float16))
