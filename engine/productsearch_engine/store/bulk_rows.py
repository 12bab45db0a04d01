"""The rows of a whole library at once: read in one go, loaded in batches, emptied.

Knows tables. Does not know files; ``store.bulk_load`` knows what a batch is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

import numpy as np
from psycopg import Connection, errors, sql
from psycopg_pool import ConnectionPool

from productsearch_engine.store import (
    bulk_index,
    bulk_load,
    locks,
    originals,
    room,
    statements,
    tables,
)
from productsearch_engine.store.images import LibraryGoneError
from productsearch_engine.store.libraries import Libraries, Library
from productsearch_engine.store.long_statements import unbounded
from productsearch_engine.store.rows import Loaded, Progress, Row

_READ_AT_ONCE = 500

_ABOUT_IMAGES = (
    *("reembeddings", "late_images", "changed_images"),
    *("query_images", "deleted_images", "imports"),
)
"""Tables whose rows are of no use, or wrong, without the images that they speak of."""


class Reading(Iterator[Row]):
    """The rows of a library at one moment; ``images`` is how many there are."""

    def __init__(self, images: int, rows: Iterator[Row]):
        self.images = images
        self._rows = rows

    def __next__(self) -> Row:
        """Return the next row."""
        return next(self._rows)


class BulkRows:
    """The rows of one database's libraries."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def empty(self, library: Library) -> int:
        """Delete all images of a library, also where an undo would find them; return how many.

        Its key pair, its settings, its people and its pinned searches stay. An import that ended
        before its last row begins anew. Raises LibraryGoneError, InUseError.
        """
        own = tables.images(library.id, library.generation)

        def change(connection: Connection[Any]) -> int:
            # The table first, then the row, as an add locks them: no deadlock.
            connection.execute(sql.SQL("lock table {} in access exclusive mode").format(own))
            others = [
                name
                for name in (f"kept_{library.id}", f"nearest_{library.id}")
                if connection.execute("select to_regclass(%s)", [name]).fetchone() != (None,)
            ]
            all_of_them = sql.SQL(", ").join([own, *map(sql.Identifier, others)])
            connection.execute(sql.SQL("truncate {}").format(all_of_them))
            for table in _ABOUT_IMAGES:
                connection.execute(
                    sql.SQL("delete from {} where library_id = %s").format(sql.Identifier(table)),
                    [library.id],
                )
            tables.drop(connection, tables.reembedding(library.id))
            bulk_index.restore_empty(connection, library)
            room.take_back(connection, library)
            row = connection.execute(
                "with was as (select image_count from libraries where id = %(id)s for update)"
                " update libraries l set image_count = 0 from was where l.id = %(id)s"
                " returning was.image_count",
                {"id": library.id},
            ).fetchone()
            return int(row[0]) if row else 0

        try:
            built = tables.with_vectors(library.id, library.generation)
            return locks.patiently(self._pool, change, ends_builds_on=built)
        except errors.UndefinedTable:
            raise LibraryGoneError from None

    def now(self, library: Library) -> Library:
        """Return a library with the name and the settings that it has now.

        Raises LibraryGoneError.
        """
        found = Libraries(self._pool).current(library)
        if found is None:
            raise LibraryGoneError
        return found

    @contextmanager
    def reading(self, library: Library) -> Iterator[Reading]:
        """Yield all rows of a library by sign, as they are at one moment.

        Raises LibraryGoneError.
        """
        library = self.now(library)
        text = _READ_KEPT if library.keep_images else _READ
        with (
            self._connection() as connection,
            unbounded(connection),
            connection.transaction(),
            connection.cursor("export", binary=True) as cursor,
        ):
            connection.execute("set transaction isolation level repeatable read, read only")
            row = connection.execute(statements.composed(_IMAGES, library)).fetchone()
            cursor.itersize = _READ_AT_ONCE
            cursor.execute(statements.composed(text, library))
            yield Reading(row[0] if row else 0, (_row(*columns) for columns in cursor))

    def stored(self, library: Library, digests: Sequence[bytes]) -> set[bytes]:
        """Return those of the digests that the library has. Raises LibraryGoneError."""
        with self._connection() as connection:
            rows = connection.execute(
                statements.composed(_STORED, library),
                {"digests": list(digests)} | statements.among_digests(digests),
                binary=True,
            ).fetchall()
        return {bytes(row[0]) for row in rows}

    def progress(self, library: Library, source: str) -> Progress:
        """Return how far an import of this source has come."""
        with self._pool.connection() as connection:
            row = connection.execute(
                "select position, rows_read, added, rejected from imports"
                " where library_id = %s and source = %s",
                [library.id, source],
            ).fetchone()
        if row is None:
            return Progress()
        return Progress(position=row[0], rows_read=row[1], added=row[2], rejected=row[3])

    def forget(self, library: Library, source: str) -> None:
        """Forget an import that is complete: the same file may be imported once more."""
        with self._pool.connection() as connection:
            connection.execute(
                "delete from imports where library_id = %s and source = %s", [library.id, source]
            )

    def load(
        self,
        library: Library,
        rows: Sequence[Row],
        source: str | None = None,
        progress: Sequence[Progress] = (),
    ) -> Loaded:
        """Store rows, those that the library has not got yet and has room for.

        progress: of ``source``, how far it has come when so many of the rows are taken, from none
        to all of them; ``added`` is counted here. Raises LibraryGoneError.
        """
        added = 0
        while True:
            try:
                with self._pool.connection() as connection, unbounded(connection):
                    loaded = bulk_load.load(connection, library, rows, source, progress)
                    added += loaded.added
                    # Full, but for what is lent to adds.
                    if loaded.taken < len(rows) and room.take_back(connection, library):
                        continue
                    return Loaded(loaded.taken, added)
            except errors.UndefinedTable:
                # That of the small copies, if somebody has just dropped these.
                before, library = library, self.now(library)
                if before.keep_images == library.keep_images:
                    raise LibraryGoneError from None
            except errors.CheckViolation as error:
                # Adds of others took the last places meanwhile: less room is seen now.
                if error.diag.constraint_name != "libraries_room":
                    raise

    @contextmanager
    def _connection(self) -> Iterator[Connection[Any]]:
        try:
            with self._pool.connection() as connection:
                yield connection
        except errors.UndefinedTable:
            raise LibraryGoneError from None


def _row(*columns: Any) -> Row:
    sign, digest, brief, class_id1, class_id2, vector, created_at, updated_at, *beside = columns
    webp, region, *original = beside
    # PostgreSQL sends two numbers of 16 bits, then the elements, all big endian.
    elements = np.frombuffer(vector, ">f2", offset=4)
    return Row(
        sign=sign,
        digest=bytes(digest),
        brief=bytes(brief),
        class_id1=class_id1,
        class_id2=class_id2,
        vector=elements.astype("<f2").tobytes(),
        created_at=created_at,
        updated_at=updated_at,
        copy=None if webp is None else bytes(webp),
        region=None if region is None else tuple(region),
        original=originals.of_columns(*original),
    )


_IMAGES: LiteralString = "select count(*) from {images} where library_id = {library}"
_READ: LiteralString = """
select sign, digest, brief, class_id1, class_id2, halfvec_send(embedding), created_at, updated_at,
    null::bytea, null::float8[], width, height, byte_count
from {images} where library_id = {library} order by sign
"""
_READ_KEPT: LiteralString = """
select sign, i.digest, i.brief, i.class_id1, i.class_id2, halfvec_send(i.embedding),
    i.created_at, i.updated_at, k.webp, k.region, i.width, i.height, i.byte_count
from {images} i left join {kept} k using ({key}) where library_id = {library} order by sign
"""

_STORED: LiteralString = (
    "select digest from {images} where library_id = {library} and digest = any(%(digests)s){among}"
)
