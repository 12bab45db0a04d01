"""The index of a library's vectors while much is loaded: dropped before, built again after.

What was dropped is written down in the same transaction, so that it is built again also after a
crash. Works by what PostgreSQL tells of indexes, whatever table has them. Knows indexes. Does not
know rows.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, LiteralString, NamedTuple

from psycopg import Connection, Error, errors, sql
from psycopg_pool import ConnectionPool

from productsearch_engine.limits import INDEX_LINKS_BYTES
from productsearch_engine.store import locks, tables
from productsearch_engine.store.libraries import Library, LibraryError
from productsearch_engine.store.long_statements import unbounded

_NAME = re.compile(r'CREATE INDEX (?:"(?:[^"]|"")+"|\S+) ON ')

_SHARED_BYTES = 16 << 20
"""What the processes that build an index share beside the graph."""


_GIVEN_UP = (
    "the index of {!r} was given up: the library was emptied or deleted meanwhile, or somebody"
    " cancelled it; the next import builds it"
)


class Built(NamedTuple):
    """How far an index is: the vectors that it has, and whether it waits for transactions."""

    vectors: int
    waits: bool


class BulkIndex:
    """The indexes of vectors of one database's libraries."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def drop(self, library: Library) -> None:
        """Drop the indexes until ``build``: searches without a filter read the library meanwhile.

        Those that are being built are given up. Raises InUseError.
        """

        def change(connection: Connection[Any]) -> None:
            for name, _, valid in _indexes(connection, library):
                if valid:
                    tables.renew_index(connection, name)
            for name, definition, valid in _indexes(connection, library):
                if valid:
                    connection.execute(
                        "insert into dropped_indexes values (%s, %s) on conflict do nothing",
                        [library.id, definition],
                    )
                connection.execute(f"drop index {name}".encode())

        built = tables.with_vectors(library.id, library.generation)
        locks.patiently(self._pool, change, ends_builds_on=built)

    def is_dropped(self, library: Library) -> bool:
        """Return whether an index waits to be built again."""
        with self._pool.connection() as connection:
            return bool(_dropped(connection, library))

    def memory_bytes(self, library: Library) -> int:
        """Return about how much memory the index takes while it is built."""
        near = tables.nearest(library.id)
        table = near if library.nearest else tables.images(library.id, library.generation)
        with self._pool.connection() as connection:
            row = connection.execute(
                "select pg_relation_size(to_regclass(%s)), image_count from libraries"
                " where id = %s",
                [table.as_string(None), library.id],
            ).fetchone()
        size, count = row if row and row[0] is not None else (0, 0)
        return int(size) + int(count) * INDEX_LINKS_BYTES + _SHARED_BYTES

    def build(self, library: Library, helpers: int, memory_bytes: int | None = None) -> None:
        """Build what was dropped, while the library is used.

        helpers: processes beside one. memory_bytes: what all of them may take together; None: as
        PostgreSQL is set. An index that needs more is built much slower. Raises LibraryError if it
        was given up.
        """
        with self._pool.connection() as connection, unbounded(connection):
            connection.execute(
                "select set_config('max_parallel_maintenance_workers', %s, false)", [str(helpers)]
            )
            if memory_bytes is not None:
                connection.execute(
                    "select set_config('maintenance_work_mem', %s, false)",
                    [f"{memory_bytes >> 10}kB"],
                )
            for definition in _dropped(connection, library):
                wanted, is_there = _unnamed(definition), False
                for name, found, valid in _indexes(connection, library):
                    if _unnamed(found) == wanted:
                        is_there = is_there or valid
                        if not valid:
                            # What a process that was killed has left.
                            connection.execute(f"drop index concurrently if exists {name}".encode())
                if not is_there:
                    self._create(connection, library, wanted)
                connection.execute(
                    "delete from dropped_indexes where library_id = %s and definition = %s",
                    [library.id, definition],
                )
            connection.execute("reset max_parallel_maintenance_workers")
            connection.execute("reset maintenance_work_mem")

    def _create(self, connection: Connection[Any], library: Library, unnamed: str) -> None:
        text = unnamed.replace("CREATE INDEX ", "CREATE INDEX CONCURRENTLY ", 1)
        try:
            connection.execute(text.encode())
        except errors.QueryCanceled:
            raise LibraryError(_GIVEN_UP.format(library.name)) from None
        except errors.UndefinedTable:
            pass  # the library has another table by now

    def analyze(self, library: Library) -> None:
        """Let PostgreSQL look at a library's tables: their rows are not those of before."""
        with self._pool.connection() as connection, unbounded(connection):
            for (name,) in connection.execute(_TABLES, _names(library)).fetchall():
                connection.execute(sql.SQL("analyze {}").format(sql.Identifier(name)))

    def built(self, library: Library) -> Built:
        """Return how far an index of the library is that is being built, as far as is known."""
        with suppress(Error), self._pool.connection() as connection:
            if row := connection.execute(_BUILT, _names(library)).fetchone():
                return Built(*row)
        return Built(0, waits=False)


def restore_empty(connection: Connection[Any], library: Library) -> None:
    """Make what was dropped, or left half made, anew at once, in a library that was emptied.

    In the transaction that emptied it: whoever was to build it is gone, or finds it there.
    """
    there = set()
    for name, definition, valid in _indexes(connection, library):
        if valid:
            there.add(_unnamed(definition))
        else:
            connection.execute(f"drop index {name}".encode())
    for unnamed in {_unnamed(definition) for definition in _dropped(connection, library)} - there:
        with suppress(errors.UndefinedTable), connection.transaction():
            connection.execute(unnamed.encode())
    connection.execute("delete from dropped_indexes where library_id = %s", [library.id])


def _unnamed(definition: str) -> str:
    """Return an index's definition without its name, which another one may have by now."""
    return _NAME.sub("CREATE INDEX ON ", definition, count=1)


def _names(library: Library) -> dict[str, Any]:
    suffix = f"_{library.generation}" if library.generation else ""
    return {"names": [f"images_{library.id}{suffix}", f"nearest_{library.id}"]}


def _indexes(connection: Connection[Any], library: Library) -> list[tuple[str, str, bool]]:
    return connection.execute(_INDEXES, _names(library)).fetchall()


def _dropped(connection: Connection[Any], library: Library) -> list[str]:
    rows = connection.execute(
        "select definition from dropped_indexes where library_id = %s", [library.id]
    ).fetchall()
    return [row[0] for row in rows]


_BUILT: LiteralString = """
select tuples_done, phase like 'waiting for %%' and lockers_total > lockers_done
from pg_stat_progress_create_index p join pg_class c on c.oid = p.relid
where datname = current_database() and c.relname = any(%(names)s)
"""
_TABLES: LiteralString = "select relname from pg_class where relname = any(%(names)s)"
_INDEXES: LiteralString = """
select i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), i.indisvalid
from pg_index i join pg_class t on t.oid = i.indrelid join pg_class c on c.oid = i.indexrelid
    join pg_am a on a.oid = c.relam
where t.relname = any(%(names)s) and a.amname = 'hnsw'
"""
