"""Fills the tables that candidates are found in for images that were there before them.

An engine of this version does so for the libraries of the version before while both serve them.
The triggers of ``images`` write what is added and deleted from the first moment on. What was there
before is filled in, so many images a transaction; then the index is built, and searches use it. A
build that was killed is taken up again by whichever engine looks next.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, LiteralString

from psycopg import Connection, errors, sql
from psycopg_pool import ConnectionPool

from productsearch_engine.limits import NEAREST_BATCH, OLD_INDEX_KEPT_S
from productsearch_engine.store import tables
from productsearch_engine.store.bulk_index import BulkIndex
from productsearch_engine.store.class_indexes import Class, ClassIndexes
from productsearch_engine.store.libraries import Libraries, Library, LibraryError
from productsearch_engine.store.long_statements import unbounded

_log = logging.getLogger(__name__)

_LOCK = 7_201_190_004
"""With the library's id: one engine at a time builds."""

_BUILT_BYTES = 2 * 1050
"""What a build writes for an image, with PostgreSQL's log: its prefix, and that in the index."""

_LOCK_WAIT_S = 2
"""How long a build waits for calls under way; calls that begin meanwhile wait for it."""

_MEMORY_BYTES = 512 << 20
"""What an index may take while it is built, that of half a million vectors; one that needs more is
built much slower."""

_DROPPED = (
    "an import has dropped the indexes of {!r}: try again once it has built them; if it was killed,"
    " the next one builds them"
)
_GIVEN_UP = (
    "the index was given up: an import, an empty or a delete of {!r} needs its tables, or somebody"
    " cancelled it"
)

_MEMORY: LiteralString = "select set_config('maintenance_work_mem', %s, false)"
# Helpers would share that memory by /dev/shm, which is 64 MB in many containers, and would
# take the cores that calls need.
_ALONE: LiteralString = "set max_parallel_maintenance_workers = 0"
_BUILT: tuple[LiteralString, ...] = (
    "reset maintenance_work_mem",
    "reset max_parallel_maintenance_workers",
)


@contextmanager
def building(
    pool: ConnectionPool[Any], memory_bytes: int = _MEMORY_BYTES
) -> Iterator[Connection[Any]]:
    """Yield a connection for statements that take long, with memory for an index of vectors."""
    with pool.connection() as connection, unbounded(connection):
        connection.execute(_MEMORY, [f"{memory_bytes >> 10}kB"])
        connection.execute(_ALONE)
        try:
            yield connection
        finally:
            if not connection.closed:
                for setting in _BUILT:
                    connection.execute(setting)


def complete(
    connection: Connection[Any],
    images: sql.Identifier,
    nearest: sql.Identifier,
    axes: str | None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> bool:
    """Fill in what a table of prefixes lacks, and its index; return False if it was stopped."""
    text = sql.SQL(_FILL).format(images=images, nearest=nearest)
    after: int | None = None
    while True:
        if is_stopped():
            return False
        values = {"after": after, "axes": axes, "count": NEAREST_BATCH}
        row = connection.execute(text, values).fetchone()
        if row is None or row[0] is None:
            break
        after = int(row[0])
    tables.complete_nearest(connection, nearest)
    connection.execute(sql.SQL("analyze {}").format(nearest))
    return True


class NearestBuilds:
    """The tables of prefixes of one database's libraries."""

    def __init__(
        self,
        pool: ConnectionPool[Any],
        old_index_kept_s: float = OLD_INDEX_KEPT_S,
        class_indexes: ClassIndexes | None = None,
        shortage: Callable[[int], str | None] = lambda _: None,
        memory_bytes: int = _MEMORY_BYTES,
    ):
        """``shortage`` says why the database has no room for so many bytes, or nothing.

        ``memory_bytes`` is what an index may take while it is built.
        """
        self._shortage = shortage
        self._memory_bytes = max(memory_bytes, _MEMORY_BYTES)
        self._told: set[int] = set()
        self._pool = pool
        self._class_indexes = class_indexes
        self._old_index_kept_s = old_index_kept_s
        self._at_work: Connection[Any] | None = None

    def look(self, is_stopped: Callable[[], bool] = lambda: False) -> None:
        """Build what is not complete or often asked for, and drop indexes that nobody needs.

        What another engine builds, and what is in use without a pause, is left for the next time.
        """
        for library in Libraries(self._pool).list():
            if is_stopped():
                return
            if library.nearest:
                self._drop_old_index(library)
            if not self._has_room(library):
                continue
            if library.nearest:
                self._tend_classes(library)
            else:
                self.build(library, is_stopped)

    def index_class(self, library: Library, of: Class) -> None:
        """Build the index of a class now. Raises LibraryError."""
        indexes = self._class_indexes or ClassIndexes()
        if not library.nearest:
            raise LibraryError(f"the prefixes of {library.name!r} are being computed: try again")
        if BulkIndex(self._pool).is_dropped(library):
            raise LibraryError(_DROPPED.format(library.name))
        if shortage := self._shortage(library.image_count * _BUILT_BYTES):
            raise LibraryError(shortage)
        with self._alone(library) as connection:
            if connection is None:
                raise LibraryError(f"an index of {library.name!r} is being built: try again later")
            try:
                indexes.build(connection, library, of)
            except errors.QueryCanceled:
                raise LibraryError(_GIVEN_UP.format(library.name)) from None

    def _has_room(self, library: Library) -> bool:
        """Return whether an index of all of a library's vectors fits; say once if it does not."""
        shortage = self._shortage(library.image_count * _BUILT_BYTES)
        if shortage is None:
            self._told.discard(library.id)
        elif library.id not in self._told:
            self._told.add(library.id)
            told = "library %d: %s: no index of its vectors is built meanwhile"
            _log.warning(told, library.id, shortage)
        return shortage is None

    def interrupt(self) -> None:
        """End the statement under way, if there is one; for another thread."""
        connection = self._at_work
        if connection is not None and not connection.closed:
            connection.cancel_safe(timeout=2)

    def build(self, library: Library, is_stopped: Callable[[], bool]) -> None:
        """Complete the table of a library, unless it is in use without a pause just now."""
        with self._alone(library) as connection:
            if connection is None:
                return
            try:
                axes = _begin(connection, library)
                images = tables.images(library.id, library.generation)
                if complete(connection, images, tables.nearest(library.id), axes, is_stopped):
                    connection.execute(_FINISH, [library.id, library.generation])
                    _log.info("library %d: its prefixes are complete", library.id)
            except (errors.LockNotAvailable, errors.UndefinedTable, errors.QueryCanceled):
                # In use, deleted, another embedding by now, or the engine stops.
                return

    def _drop_old_index(self, library: Library) -> None:
        images = tables.images(library.id, library.generation)
        with self._pool.connection() as connection:
            if not tables.vector_indexes(connection, images):
                return
            old = connection.execute(_IS_OLD, [library.id, self._old_index_kept_s]).fetchone()
        if old is None:
            return
        with self._alone(library) as building_connection:
            if building_connection is not None:
                for name, _ in tables.vector_indexes(building_connection, images):
                    tables.drop_index(building_connection, name)

    def _tend_classes(self, library: Library) -> None:
        indexes = self._class_indexes
        if indexes is None:
            return
        with self._pool.connection() as connection:
            if not indexes.concern(connection, library):
                return
        with self._alone(library) as building_connection:
            if building_connection is None:
                return
            # Deleted, of another embedding by now, or the engine stops.
            with suppress(errors.UndefinedTable, errors.QueryCanceled):
                indexes.tend(building_connection, library)

    @contextmanager
    def _alone(self, library: Library) -> Iterator[Connection[Any] | None]:
        """Yield a connection if no other engine is at work on the library."""
        with building(self._pool, self._memory_bytes) as connection:
            key = [_LOCK % 2**31, library.id % 2**31]
            row = connection.execute("select pg_try_advisory_lock(%s, %s)", key).fetchone()
            if not row or not row[0]:
                yield None
                return
            self._at_work = connection
            try:
                yield connection
            finally:
                self._at_work = None
                if not connection.closed:
                    connection.execute("select pg_advisory_unlock(%s, %s)", key)


def _begin(connection: Connection[Any], library: Library) -> str | None:
    """Create the table, if there is none of the library's embedding; return the name of its axes.

    Adds that began before are waited for: those after it write to the table themselves.
    """
    with connection.transaction():
        connection.execute(sql.SQL("set local lock_timeout = {}").format(f"{_LOCK_WAIT_S}s"))
        images = tables.images(library.id, library.generation)
        connection.execute(sql.SQL("lock table {} in share mode").format(images))
        row = connection.execute(_BEGUN, [library.id]).fetchone()
        if row is not None:
            axes: str | None = row[0]
            return axes
        axes = tables.create_nearest(
            connection, tables.nearest(library.id), library.embedding, library.dimensions
        )
        connection.execute(_BEGIN, [axes, library.id])
        return axes


_BEGUN: LiteralString = (
    "select nearest_axes from libraries where id = %s and nearest_generation = generation"
)
_BEGIN: LiteralString = (
    "update libraries set nearest_generation = generation, nearest_axes = %s, nearest_since = null"
    " where id = %s"
)
_FINISH: LiteralString = (
    "update libraries set nearest_since = now()"
    " where id = %s and generation = %s and nearest_generation = generation"
)
_IS_OLD: LiteralString = (
    "select from libraries where id = %s and nearest_since <= now() - make_interval(secs => %s)"
)
# The lock makes a change or a delete of an image wait: its trigger then finds the row.
_FILL: LiteralString = """
with missing as (
    select i.library_id, i.sign, i.class_id1, i.class_id2, i.embedding from {images} i
    where (%(after)s::bigint is null or i.sign > %(after)s::bigint) and not exists (
        select from {nearest} n where n.library_id = i.library_id and n.sign = i.sign
    )
    order by i.sign limit %(count)s for share of i
),
filled as (
    insert into {nearest} (library_id, sign, class_id1, class_id2, prefix)
    select library_id, sign, class_id1, class_id2, nearest_prefix(%(axes)s::text, embedding)
    from missing
    on conflict (library_id, sign) do nothing
)
select max(sign) from missing
"""
