"""The SQL of a library's change of embedding: a second table beside the one that serves.

The second table (``reembedding_<id>``) gets each image with its new vector. What is changed or
deleted meanwhile is changed or deleted in it by triggers (see the migrations); what is added is
noted in ``late_images``, and the last of these get their vectors while all calls wait. The table
from before the switch is then the second one, so the way back is the same way.

Engines name a library's table in each statement. One that does not know of the switch finds no
table, which ``store.images`` calls LibraryGoneError, and looks the library up again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import numpy as np
from psycopg import Connection, errors, sql
from psycopg_pool import ConnectionPool

from productsearch_engine.embedding.interface import Vector, Vectors
from productsearch_engine.limits import REEMBEDDING_KEPT_S
from productsearch_engine.store import (
    embedding_switch,
    locks,
    nearest_builds,
    reembedding_statements,
    rights,
    second_rows,
    tables,
)
from productsearch_engine.store.images import LibraryGoneError, half
from productsearch_engine.store.libraries import Library, LibraryError
from productsearch_engine.store.reembedding_statements import composed
from productsearch_engine.store.second_rows import Copy


@dataclass(frozen=True)
class Left:
    """How many images have no new vector yet."""

    images: int
    without_copy: int
    unnoted: int
    """Those that were there before the change began: the switch would not find them."""


@dataclass(frozen=True)
class Other:
    """The embedding that a library has beside the one that serves."""

    embedding: str
    dimensions: int
    served_until: datetime | None
    """When it stopped serving; None if it has not served yet."""
    has_nearest: bool = False
    """Whether candidates can be found by prefixes of its vectors."""
    axes: str | None = None
    """Of these prefixes; None: they are the whole vectors."""


class BusyError(Exception):
    """The library's calls left no moment for the switch; it can be tried again."""


class Reembeddings:
    """The second tables of one database's libraries.

    Methods raise LibraryGoneError if the library was deleted, or given another embedding.
    """

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def other(self, library: Library) -> Other | None:
        """Return the library's second embedding, if it has one."""
        with self._pool.connection() as connection:
            row = connection.execute(
                "select r.embedding, r.dimensions, r.served_until,"
                " coalesce(r.nearest_generation = l.generation, false), r.nearest_axes"
                " from reembeddings r join libraries l on l.id = r.library_id"
                " where r.library_id = %s",
                [library.id],
            ).fetchone()
        return None if row is None else Other(*row)

    def begin(self, library: Library, embedding: str, dimensions: int) -> None:
        """Create the second table. Raises BusyError.

        Whatever is added later is noted as late: adds that began before are waited for. Raises
        LibraryError for a library with buckets: what triggers do, a cluster does not.
        """
        if library.bucketed:
            raise LibraryError(
                f"{library.name!r} is on a cluster, where a library keeps its embedding: create"
                " another library and add the images to it"
            )
        with self._beginning(library) as connection:
            connection.execute("delete from late_images where library_id = %s", [library.id])
            connection.execute(
                "insert into reembeddings (library_id, embedding, dimensions) values (%s, %s, %s)",
                [library.id, embedding, dimensions],
            )
            axes = tables.create_reembedding(connection, library.id, embedding, dimensions)
            second_rows.note_nearest(connection, library, axes)

    @contextmanager
    def _beginning(self, library: Library) -> Iterator[Connection[Any]]:
        try:
            with self._connection() as connection, connection.transaction():
                _wait_for_calls(connection, library, "share")
                yield connection
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            raise BusyError from None

    def discard(self, library: Library) -> None:
        """Drop the second table. Raises InUseError."""
        second = tables.with_vectors(library.id, library.generation)[2:]
        locks.patiently(
            self._pool,
            lambda connection: second_rows.drop(connection, library.id),
            ends_builds_on=second,
        )

    def drop_old(self) -> None:
        """Drop the second tables that served a library more than a day ago.

        One that is being changed or read at the moment is left for the next time.
        """
        with self._pool.connection() as connection, connection.transaction():
            old = connection.execute(
                "select library_id from reembeddings where served_until"
                " < now() - make_interval(secs => %s) for update skip locked",
                [REEMBEDDING_KEPT_S],
            ).fetchall()
            for (library_id,) in old:
                if rights.taken(connection, library_id):
                    with suppress(errors.LockNotAvailable), connection.transaction():
                        locks.bound(connection)
                        second_rows.drop(connection, library_id)

    def left(self, library: Library) -> Left:
        """Return how many images have no new vector yet."""
        statement = (
            reembedding_statements.LEFT
            if library.keep_images
            else reembedding_statements.LEFT_WITHOUT
        )
        with self._long() as connection:
            row = connection.execute(composed(statement, library)).fetchone()
        return Left(*row) if row else Left(0, 0, 0)

    def copies(self, library: Library, after: int | None, count: int) -> list[Copy]:
        """Return images without a new vector whose sign is above ``after``, in order."""
        values = {"after": after, "count": count}
        with self._long() as connection:
            rows = connection.execute(
                composed(reembedding_statements.COPIES, library), values, binary=True
            ).fetchall()
        return [second_rows.copy_of(*row) for row in rows]

    def store(
        self, library: Library, embedding: str, signs: Sequence[int], vectors: Vectors
    ) -> None:
        """Store new vectors; those of images that were deleted meanwhile are left out.

        Raises LibraryError if the second table is not for vectors of this embedding any more.
        """
        with self._connection() as connection, connection.transaction():
            claimed = second_rows.claim(connection, library, embedding)
            second_rows.store(connection, library, signs, vectors, claimed)

    def sample(self, library: Library, count: int) -> tuple[Vectors, Vectors]:
        """Return vectors of the same images in both embeddings, shape (images, dimensions) each.

        The images are drawn by their digests: at random, but the same in each run.
        """
        with self._long() as connection:
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
            else tables.images(library.id, library.generation)
        )
        with self._long() as connection:
            rows = connection.execute(
                statement, {"vector": half(vector), "count": count}
            ).fetchall()
        return [bytes(row[0]) for row in rows]

    def index(self, library: Library, embedding: str, dimensions: int) -> None:
        """Complete the second table's prefixes with their index; writers do not wait for it."""
        with _unless_gone(), nearest_builds.building(self._pool) as connection:
            images, nearest = tables.reembedding(library.id), tables.reembedding_nearest(library.id)
            with connection.transaction():
                claimed = second_rows.claim(connection, library, embedding)
                axes = claimed.axes
                if not claimed.has_nearest:
                    # An engine of the version before made the table, or exchanged it.
                    axes = tables.create_nearest(connection, nearest, embedding, dimensions)
                    second_rows.note_nearest(connection, library, axes)
            nearest_builds.complete(connection, images, nearest, axes)

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
        one has no copy. Raises BusyError; LibraryError if the second table is another's by now.
        """
        try:
            with self._long() as connection:
                _wait_for_calls(connection, library, "access exclusive")
                claimed = second_rows.claim(connection, library, other.embedding)
                late = connection.execute(
                    composed(reembedding_statements.LATE, library), {"count": late_max + 1}
                ).fetchall()
                signs = [row[0] for row in late]
                if len(signs) > late_max or (signs and not library.keep_images):
                    return False
                copies = second_rows.late_copies(connection, library, signs) if signs else []
                if len(copies) < len(signs):
                    return False
                if copies:
                    second_rows.store(connection, library, signs, embed(copies), claimed)
                embedding_switch.exchange(connection, library, other.embedding, other.dimensions)
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            raise BusyError from None
        return True

    @contextmanager
    def _connection(self) -> Iterator[Connection[Any]]:
        """Lend a connection. Raises LibraryGoneError."""
        with _unless_gone(), self._pool.connection() as connection:
            yield connection

    @contextmanager
    def _long(self) -> Iterator[Connection[Any]]:
        """Lend a connection for statements that may take longer than a call's, in a transaction.

        An index of some 100,000 vectors takes minutes: neither the server's limit of a statement
        nor that of our own connections (``database.bounded``) may end it.
        """
        with self._connection() as connection:
            limit_s = getattr(connection, "limit_s", math.inf)
            connection.limit_s = math.inf  # type: ignore[attr-defined]
            try:
                with connection.transaction():
                    connection.execute("set local statement_timeout = 0")
                    yield connection
            finally:
                connection.limit_s = limit_s  # type: ignore[attr-defined]


def _wait_for_calls(connection: Connection[Any], library: Library, mode: LiteralString) -> None:
    """Lock the table that serves; calls under way end first.

    At once in the last mode: an add takes a weaker lock on the table first and a stronger one
    then, so a lock between the two would lead to a deadlock.
    """
    locks.bound(connection)
    connection.execute(
        sql.SQL("lock table {} in {} mode").format(
            tables.images(library.id, library.generation), sql.SQL(mode)
        )
    )


@contextmanager
def _unless_gone() -> Iterator[None]:
    """Raise LibraryGoneError for a table that is not there."""
    try:
        yield
    except errors.UndefinedTable:
        raise LibraryGoneError from None
