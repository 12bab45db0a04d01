"""The right to change all of a library, which one process at a time has.

Knows the lock. Does not know what is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool

from productsearch_engine.store.libraries import Library, LibraryError

_LOCK = 7_201_190_003
"""With the library's id: one process at a time changes its embedding, or loads it in bulk."""


@contextmanager
def alone(pool: ConnectionPool[Any], library: Library) -> Iterator[Callable[[], None]]:
    """Hold the right to change all of a library: its embedding, or its images in bulk.

    Yields a function that raises LibraryError once the right is lost: it is the connection's.
    Raises LibraryError if another process has it. The database takes it back when
    this process ends, also when it is killed.
    """

    def require() -> None:
        try:
            connection.execute("select 1")
        except psycopg.Error:
            raise LibraryError(
                f"the database ended the connection that kept others from changing"
                f" {library.name!r} meanwhile: run the same command again, it goes on from here"
            ) from None

    with pool.connection() as connection:
        key = _key(library.id)
        row = connection.execute("select pg_try_advisory_lock(%s, %s)", key).fetchone()
        if not row or not row[0]:
            raise LibraryError(f"another reembed or import of {library.name!r} is running")
        try:
            yield require
        finally:
            # With its connection the right has ended too; what was done stays done.
            with suppress(psycopg.Error):
                connection.execute("select pg_advisory_unlock(%s, %s)", key)


def taken(connection: psycopg.Connection[Any], library_id: int) -> bool:
    """Take the right until this transaction ends; return whether nobody else has it."""
    row = connection.execute(
        "select pg_try_advisory_xact_lock(%s, %s)", _key(library_id)
    ).fetchone()
    return bool(row and row[0])


def _key(library_id: int) -> list[int]:
    return [_LOCK % 2**31, library_id % 2**31]
