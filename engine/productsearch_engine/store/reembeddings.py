"""The SQL of a library's change of embedding: a second table beside the one that serves.

The second table (``reembedding_<id>``) gets each image with its new vector. What is changed or
deleted meanwhile is changed or deleted in it by triggers (see the migration); the last images that
are added get their vectors while all calls wait. The switch renames both tables in one
transaction; the table from before is now the second one, so the way back is the same way.

Engines name a library's table in each statement. One that does not know of the switch finds no
table, which ``store.images`` calls LibraryGoneError, and looks the library up again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from psycopg import Connection, errors, sql
from psycopg_pool import ConnectionPool

from productsearch_engine.embedding.interface import Vector, Vectors
from productsearch_engine.limits import REEMBEDDING_KEPT_S
from productsearch_engine.store import reembedding_statements, tables
from productsearch_engine.store.images import half
from productsearch_engine.store.libraries import Library, LibraryError
from productsearch_engine.store.reembedding_statements import composed

_LOCK = 7_201_190_003
"""With the library's id: one process at a time changes its embedding."""

_LOCK_WAIT_S = 2
"""How long the switch waits for calls under way; calls that begin meanwhile wait for it."""


@dataclass(frozen=True)
class Copy:
    """A stored image's sign and its small copy."""

    sign: int
    webp: bytes


@dataclass(frozen=True)
class Other:
    """The embedding that a library has beside the one that serves."""

    embedding: str
    dimensions: int
    served_until: datetime | None
    """When it stopped serving; None if it has not served yet."""


class BusyError(Exception):
    """The library's calls left no moment for the switch; it can be tried again."""


class Reembeddings:
    """The second tables of one database's libraries."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    @contextmanager
    def alone(self, library: Library) -> Iterator[None]:
        """Hold the right to change a library's embedding. Raises LibraryError if another has it.

        The database takes it back when this process ends, also when it is killed.
        """
        with self._pool.connection() as connection:
            key = [_LOCK % 2**31, library.id % 2**31]
            row = connection.execute("select pg_try_advisory_lock(%s, %s)", key).fetchone()
            if not row or not row[0]:
                raise LibraryError(f"another reembed of {library.name!r} is running")
            try:
                yield
            finally:
                connection.execute("select pg_advisory_unlock(%s, %s)", key)

    def other(self, library: Library) -> Other | None:
        """Return the library's second embedding, if it has one."""
        with self._pool.connection() as connection:
            row = connection.execute(
                "select embedding, dimensions, served_until from reembeddings"
                " where library_id = %s",
                [library.id],
            ).fetchone()
        return None if row is None else Other(*row)

    def begin(self, library: Library, embedding: str, dimensions: int) -> None:
        """Create the second table."""
        with self._pool.connection() as connection, connection.transaction():
            connection.execute(
                "insert into reembeddings (library_id, embedding, dimensions) values (%s, %s, %s)",
                [library.id, embedding, dimensions],
            )
            tables.create_reembedding(connection, library.id, dimensions)

    def discard(self, library: Library) -> None:
        """Drop the second table."""
        with self._pool.connection() as connection, connection.transaction():
            _drop(connection, library.id)

    def drop_old(self) -> None:
        """Drop the second tables that served a library more than a day ago."""
        with self._pool.connection() as connection, connection.transaction():
            old = connection.execute(
                "select library_id from reembeddings where served_until"
                " < now() - make_interval(secs => %s) for update skip locked",
                [REEMBEDDING_KEPT_S],
            ).fetchall()
            for row in old:
                _drop(connection, row[0])

    def left(self, library: Library) -> tuple[int, int]:
        """Return how many images have no new vector yet, and how many of these have no copy."""
        with self._pool.connection() as connection, _long(connection):
            return _left(connection, library)

    def copies(self, library: Library, after: int | None, count: int) -> list[Copy]:
        """Return images without a new vector whose sign is above ``after``, in order."""
        with self._pool.connection() as connection, _long(connection):
            return _copies(connection, library, after, count)

    def store(self, library: Library, signs: Sequence[int], vectors: Vectors) -> None:
        """Store new vectors; those of images that were deleted meanwhile are left out."""
        with self._pool.connection() as connection, connection.transaction():
            _store(connection, library, signs, vectors)

    def sample(self, library: Library, count: int) -> tuple[Vectors, Vectors]:
        """Return vectors of the same images in both embeddings, shape (images, dimensions) each.

        The images are drawn by their digests: at random, but the same in each run.
        """
        with self._pool.connection() as connection, _long(connection):
            rows = connection.execute(
                composed(reembedding_statements.SAMPLE, library), [count], binary=True
            ).fetchall()
        serving, second = zip(*rows, strict=True) if rows else ((), ())
        return (
            np.array([vector.to_numpy() for vector in serving], np.float32),
            np.array([vector.to_numpy() for vector in second], np.float32),
        )

    def nearest(
        self, library: Library, other: Other | None, vector: Vector, count: int
    ) -> list[bytes]:
        """Return the digests of the images nearest to a vector, of the embedding that serves, or
        of the ``other`` one."""
        statement = sql.SQL(reembedding_statements.NEAREST).format(
            table=tables.reembedding(library.id)
            if other
            else tables.images(library.id, library.generation),
            dimensions=sql.Literal(other.dimensions if other else library.dimensions),
        )
        with self._pool.connection() as connection, _long(connection):
            rows = connection.execute(
                statement, {"vector": half(vector), "count": count}
            ).fetchall()
        return [bytes(row[0]) for row in rows]

    def index(self, library: Library, dimensions: int) -> None:
        """Create the index of the new vectors, if it is not there."""
        table = tables.reembedding(library.id)
        with self._pool.connection() as connection, _long(connection):
            if not tables.has_nearest(connection, table):
                connection.execute("set local maintenance_work_mem = '512MB'")
                tables.create_nearest(connection, table, dimensions)

    def switch(
        self,
        library: Library,
        other: Other,
        embed: Callable[[Sequence[Copy]], Vectors],
        late_max: int,
    ) -> bool:
        """Let the second table serve and make the first the second, in one transaction.

        ``embed`` is called while the library's calls wait, with at most ``late_max`` images: those
        that were added last. Returns False, and changes nothing, if there are more of them, or if
        one has no copy. Raises BusyError.
        """
        serving, second = (
            tables.images(library.id, library.generation),
            tables.reembedding(library.id),
        )
        new = tables.images(library.id, library.generation + 1)
        try:
            with self._pool.connection() as connection, _long(connection):
                connection.execute(
                    sql.SQL("set local lock_timeout = {}").format(f"{_LOCK_WAIT_S}s")
                )
                # At once in the last mode: an add takes a weaker lock on the table first and a
                # stronger one then, so a lock between the two would lead to a deadlock.
                connection.execute(
                    sql.SQL("lock table {} in access exclusive mode").format(serving)
                )
                late, missing = _left(connection, library)
                if late > late_max or missing:
                    return False
                if late:
                    copies = _copies(connection, library, None, late)
                    _store(connection, library, [copy.sign for copy in copies], embed(copies))
                _exchange(connection, library, serving, second, new)
                _note(connection, library, other)
        except errors.LockNotAvailable:
            raise BusyError from None
        return True


def _exchange(
    connection: Connection[Any],
    library: Library,
    serving: sql.Identifier,
    second: sql.Identifier,
    new: sql.Identifier,
) -> None:
    for statement in (
        sql.SQL("alter table images detach partition {}").format(serving),
        sql.SQL("alter table {} rename to {}").format(second, new),
        sql.SQL("alter table {} rename to {}").format(serving, second),
        sql.SQL("alter table images attach partition {} for values in ({})").format(
            new, sql.Literal(library.id)
        ),
    ):
        connection.execute(statement)


def _note(connection: Connection[Any], library: Library, other: Other) -> None:
    """Exchange what the rows of the library say of its two embeddings."""
    connection.execute(
        """
        with before as (select * from libraries where id = %(id)s for update),
        second as (
            update reembeddings r set embedding = b.embedding, dimensions = b.dimensions,
                calibration = b.calibration, served_until = now()
            from before b, reembeddings was
            where r.library_id = b.id and was.library_id = r.library_id
            returning was.calibration as calibration
        )
        update libraries l set embedding = %(embedding)s, dimensions = %(dimensions)s,
            generation = generation + 1, calibration = second.calibration
        from second where l.id = %(id)s
        """,
        {"id": library.id, "embedding": other.embedding, "dimensions": other.dimensions},
    )


def _left(connection: Connection[Any], library: Library) -> tuple[int, int]:
    statement = (
        reembedding_statements.LEFT if library.keep_images else reembedding_statements.LEFT_WITHOUT
    )
    row = connection.execute(composed(statement, library)).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def _copies(
    connection: Connection[Any], library: Library, after: int | None, count: int
) -> list[Copy]:
    values = {"after": after, "count": count}
    rows = connection.execute(
        composed(reembedding_statements.COPIES, library), values, binary=True
    ).fetchall()
    return [Copy(sign, webp) for sign, webp in rows]


def _store(
    connection: Connection[Any], library: Library, signs: Sequence[int], vectors: Vectors
) -> None:
    rows = [
        {"sign": sign, "embedding": half(vector)}
        for sign, vector in zip(signs, vectors, strict=True)
    ]
    with connection.cursor() as cursor:
        cursor.executemany(composed(reembedding_statements.STORE, library), rows)


def _drop(connection: Connection[Any], library_id: int) -> None:
    connection.execute("delete from reembeddings where library_id = %s", [library_id])
    tables.drop(connection, tables.reembedding(library_id))


@contextmanager
def _long(connection: Connection[Any]) -> Iterator[None]:
    """Run statements that may take longer than a call's, in a transaction.

    An index of some 100,000 vectors takes minutes: neither the server's limit of a statement nor
    that of our own connections (``database.bounded``) may end it.
    """
    limit_s = getattr(connection, "limit_s", math.inf)
    connection.limit_s = math.inf  # type: ignore[attr-defined]
    try:
        with connection.transaction():
            connection.execute("set local statement_timeout = 0")
            yield
    finally:
        connection.limit_s = limit_s  # type: ignore[attr-defined]
