"""The rows of a whole library at once: read in one go, loaded by COPY, emptied.

A batch of rows is loaded in one transaction together with the count of images and with how far the
import has come: after a crash all of it is there, or nothing. Rows go into the library's table of
images and into that of prefixes; what else is kept of them is the work of triggers.

Knows tables. Does not know files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, LiteralString

import numpy as np
from pgvector import HalfVector
from psycopg import Connection, errors, sql
from psycopg_pool import ConnectionPool

from productsearch_engine.limits import SIGN_ATTEMPTS_MAX, STATEMENT_S
from productsearch_engine.store import (
    adds,
    bucketed_bulk,
    bulk_prefixes,
    originals,
    room,
    signs,
    statements,
    tables,
)
from productsearch_engine.store.bulk_prefixes import Turned
from productsearch_engine.store.images import LibraryGoneError
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.originals import Original

_READ_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One image of a library, with everything that is stored of it."""

    sign: int
    digest: bytes
    """SHA-256 of the image's file."""
    brief: bytes
    class_id1: int | None
    class_id2: int | None
    vector: bytes
    """The vector as float16, little endian: what is stored, bit for bit."""
    created_at: datetime | None
    updated_at: datetime | None
    """None: now."""
    copy: bytes | None
    region: tuple[float, ...] | None
    original: Original | None = None
    """The image's file; None if it is not known."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far an import has come: bytes and rows of its file, and what became of the rows."""

    position: int = 0
    rows_read: int = 0
    added: int = 0
    rejected: int = 0

    @property
    def duplicates(self) -> int:
        """Return how many rows were in the library, or in the file before."""
        return self.rows_read - self.added - self.rejected


@dataclass(frozen=True)
class Loaded:
    """What became of a batch: so many of its first rows are done; fewer if the library is full."""

    taken: int
    added: int


class BulkRows:
    """The rows of one database's libraries."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def empty(self, library: Library) -> int:
        """Delete all images of a library, also where an undo would find them; return how many.

        Its key pair, its settings, its people and its pinned searches stay. Raises
        LibraryGoneError.
        """
        with self._connection() as connection, connection.transaction():
            own = tables.images(library.id, library.generation)
            # The table first, then the row, as an add locks them: no deadlock.
            connection.execute(sql.SQL("lock table {} in access exclusive mode").format(own))
            others = [
                name
                for name in (f"kept_{library.id}", f"nearest_{library.id}")
                if connection.execute("select to_regclass(%s)", [name]).fetchone() != (None,)
            ]
            all_of_them = sql.SQL(", ").join([own, *map(sql.Identifier, others)])
            connection.execute(sql.SQL("truncate {}").format(all_of_them))
            for table in (
                *("reembeddings", "late_images", "changed_images"),
                *("query_images", "deleted_images"),
            ):
                connection.execute(
                    sql.SQL("delete from {} where library_id = %s").format(sql.Identifier(table)),
                    [library.id],
                )
            tables.drop(connection, tables.reembedding(library.id))
            room.take_back(connection, library)
            row = connection.execute(
                "with was as (select image_count from libraries where id = %(id)s for update)"
                " update libraries l set image_count = 0 from was where l.id = %(id)s"
                " returning was.image_count",
                {"id": library.id},
            ).fetchone()
        return int(row[0]) if row else 0

    @contextmanager
    def reading(self, library: Library) -> Iterator[Iterator[Row]]:
        """Yield all rows of a library by sign, as they are at one moment.

        Raises LibraryGoneError.
        """
        text = _READ_KEPT if library.keep_images else _READ
        with (
            self._connection() as connection,
            unbounded(connection),
            connection.transaction(),
            connection.cursor("export", binary=True) as cursor,
        ):
            cursor.itersize = _READ_AT_ONCE
            cursor.execute(statements.composed(text, library))
            yield (_row(*columns) for columns in cursor)

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
                with self._connection() as connection, unbounded(connection):
                    loaded = self._load(connection, library, rows, source, progress)
                    added += loaded.added
                    # Full, but for what is lent to adds.
                    if loaded.taken < len(rows) and room.take_back(connection, library):
                        continue
                    return Loaded(loaded.taken, added)
            except errors.CheckViolation as error:
                # Adds of others took the last places meanwhile: less room is seen now.
                if error.diag.constraint_name != "libraries_room":
                    raise

    def _load(
        self,
        connection: Connection[Any],
        library: Library,
        rows: Sequence[Row],
        source: str | None,
        progress: Sequence[Progress],
    ) -> Loaded:
        with connection.transaction():
            if library.bucketed:
                adds.together(connection)
            turned = bulk_prefixes.give(connection, library)
            connection.execute(_INCOMING)
            _copy(connection, rows, turned)
            places = _room(connection, library)
            if library.bucketed:
                bucketed_bulk.check(rows)
                insert = partial(bucketed_bulk.insert, connection, library)
                left_of = partial(bucketed_bulk.left, connection, library)
            else:
                text = _insertion(library, given=turned is not None)
                insert = partial(_inserted, connection, text)
                left_of = partial(_left, connection, library)
            added = insert(places)
            left = left_of() if added < len(rows) else []
            attempt = 1
            while left and added < places and attempt < SIGN_ATTEMPTS_MAX:
                # Their signs belong to other images.
                for place in left:
                    sign = signs.derive(rows[place].digest, attempt)
                    connection.execute(
                        "update incoming set sign = %s where place = %s", [sign, place]
                    )
                added += insert(places - added)
                left, attempt = left_of(), attempt + 1
            taken = min(left, default=len(rows))
            connection.execute(
                "update libraries set image_count = image_count + %s where id = %s",
                [added, library.id],
            )
            if source is not None:
                _note(connection, library, source, progress[taken], added)
        return Loaded(taken, added)

    @contextmanager
    def _connection(self) -> Iterator[Connection[Any]]:
        try:
            with self._pool.connection() as connection:
                yield connection
        except errors.UndefinedTable:
            raise LibraryGoneError from None


@contextmanager
def unbounded(connection: Connection[Any]) -> Iterator[None]:
    """Let statements take as long as they take; those of a killed process end in a second."""
    limit_s = getattr(connection, "limit_s", math.inf)
    connection.limit_s = math.inf  # type: ignore[attr-defined]
    try:
        connection.execute("set statement_timeout = 0")
        connection.execute("set client_connection_check_interval = '1s'")
        yield
    finally:
        connection.limit_s = limit_s  # type: ignore[attr-defined]
        if not connection.closed:
            connection.execute(f"set statement_timeout = '{STATEMENT_S}s'".encode())
            connection.execute("reset client_connection_check_interval")


def _copy(connection: Connection[Any], rows: Sequence[Row], turned: Turned | None) -> None:
    prefixes = turned.prefixes([row.vector for row in rows]) if turned else [None] * len(rows)
    with (
        connection.cursor() as cursor,
        cursor.copy("copy incoming from stdin (format binary)") as copy,
    ):
        copy.set_types(_TYPES)
        for place, (row, prefix) in enumerate(zip(rows, prefixes, strict=True)):
            copy.write_row(
                (
                    *(place, row.sign, row.digest, row.brief, row.class_id1, row.class_id2),
                    *(HalfVector(np.frombuffer(row.vector, "<f2")), prefix),
                    *(row.created_at, row.updated_at, row.copy),
                    None if row.region is None else list(row.region),
                    *originals.values(row.original).values(),
                )
            )


def _room(connection: Connection[Any], library: Library) -> int:
    row = connection.execute(
        "select capacity - image_count from libraries where id = %s", [library.id]
    ).fetchone()
    if row is None:
        raise LibraryGoneError
    return int(row[0])


def _insertion(library: Library, *, given: bool) -> bytes:
    kept = _INSERT_KEPT if library.keep_images else ""
    near = bulk_prefixes.INSERT if given else ""
    return statements.composed(_INSERT.replace("KEPT", kept).replace("NEAR", near), library)


def _inserted(connection: Connection[Any], insert: bytes, room: int) -> int:
    row = connection.execute(insert, {"room": room}).fetchone()
    return int(row[0]) if row else 0


def _left(connection: Connection[Any], library: Library) -> list[int]:
    """Return the places of the rows that are not stored."""
    rows = connection.execute(statements.composed(_LEFT, library)).fetchall()
    return [row[0] for row in rows]


def _note(
    connection: Connection[Any],
    library: Library,
    source: str,
    progress: Progress,
    added: int,
) -> None:
    connection.execute(
        _NOTE,
        {
            "library": library.id,
            "source": source,
            "position": progress.position,
            "rows_read": progress.rows_read,
            "rejected": progress.rejected,
            "added": added,
        },
    )


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

_INCOMING: LiteralString = """
create temporary table incoming (
    place int, sign bigint, digest bytea, brief bytea, class_id1 int, class_id2 int,
    embedding halfvec, prefix halfvec, created_at timestamptz, updated_at timestamptz,
    webp bytea, region float8[], width int, height int, byte_count int
) on commit drop
"""
_TYPES = (
    *("int4", "int8", "bytea", "bytea", "int4", "int4", "halfvec", "halfvec"),
    *("timestamptz", "timestamptz", "bytea", "float8[]", "int4", "int4", "int4"),
)

# In the order of the digests, as another import would, so that two do not deadlock; of those that
# there is no room for, the last rows. The limit lets PostgreSQL look up each digest in its index:
# it knows nothing of a table that grows while it is loaded, and would read all of it each time.
_INSERT: LiteralString = """
with fresh as (
    select distinct on (i.digest) i.* from incoming i left join lateral (
        select true as stored from {images}
        where library_id = {library} and digest = i.digest limit 1
    ) as s on true
    where s.stored is null order by i.digest, i.place
),
fitting as (select * from fresh order by place limit greatest(%(room)s, 0)),
added as (
    insert into {images} (library_id, sign, digest, brief, class_id1, class_id2, embedding,
        created_at, updated_at, width, height, byte_count)
    select {library}, sign, digest, brief, class_id1, class_id2, embedding,
        coalesce(created_at, now()), coalesce(updated_at, created_at, now()), width, height,
        byte_count
    from fitting order by digest
    on conflict do nothing returning sign, digest
)KEPTNEAR
select count(*) from added
"""
_INSERT_KEPT: LiteralString = """,
kept as (
    insert into {kept} (library_id, sign, webp, region)
    select {library}, a.sign, f.webp, f.region from added a join fitting f using (digest)
    where f.webp is not null
    on conflict (library_id, sign) do update set webp = excluded.webp, region = excluded.region
)"""

_LEFT: LiteralString = """
select i.place from incoming i left join lateral (
    select true as stored from {images}
    where library_id = {library} and digest = i.digest limit 1
) as s on true
where s.stored is null order by i.place
"""

_NOTE: LiteralString = """
insert into imports as i (library_id, source, position, rows_read, added, rejected)
values (%(library)s, %(source)s, %(position)s, %(rows_read)s, %(added)s, %(rejected)s)
on conflict (library_id, source) do update set position = excluded.position,
    rows_read = excluded.rows_read, rejected = excluded.rejected,
    added = i.added + excluded.added
"""
