"""Takes a library's tables for one change alone, without letting its calls stand behind it.

A table that is dropped, emptied or altered must be nobody else's for a moment. PostgreSQL lets all
that come later wait behind who waits for that, so one long reader (an export, a copy, a backup)
would stop each call for as long as it reads. Hence a lock is waited for shortly, and again after a
pause in which calls go on.

Knows locks. Does not know what is changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, LiteralString, TypeVar

from psycopg import Connection, errors, sql
from psycopg_pool import ConnectionPool

from productsearch_engine.limits import LOCK_PATIENCE_S, LOCK_PAUSE_S, LOCK_WAIT_S

_T = TypeVar("_T")


class InUseError(Exception):
    """What a change needs for itself is read without a pause; nothing was changed."""

    def __init__(self) -> None:
        super().__init__(
            "the library's tables are read without a pause, by an export, a copy or a backup:"
            " nothing was changed; try again when it is over"
        )


def bound(connection: Connection[Any]) -> None:
    """Let the transaction wait for each lock no longer than calls may wait behind it."""
    connection.execute(sql.SQL("set local lock_timeout = {}").format(f"{int(LOCK_WAIT_S * 1000)}"))


def patiently(
    pool: ConnectionPool[Any],
    change: Callable[[Connection[Any]], _T],
    *,
    ends_builds_on: Sequence[sql.Identifier] = (),
) -> _T:
    """Return what ``change`` returns, in a transaction that has got all locks it asked for.

    It may be begun several times. Indexes that are being built meanwhile on the tables of
    ``ends_builds_on`` are given up: they would be of rows that are gone, and take minutes. Raises
    InUseError after ``LOCK_PATIENCE_S``, and what ``change`` raises.
    """
    ends_s = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            with pool.connection() as connection:
                _end_builds(connection, ends_builds_on)
                with connection.transaction():
                    bound(connection)
                    return change(connection)
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            if time.monotonic() > ends_s:
                raise InUseError from None
        time.sleep(LOCK_PAUSE_S)


def _end_builds(connection: Connection[Any], of: Sequence[sql.Identifier]) -> None:
    if of:
        connection.execute(_END_BUILDS, [[table.as_string(None) for table in of]])


_END_BUILDS: LiteralString = """
select pg_cancel_backend(pid) from pg_stat_progress_create_index
where datname = current_database() and relid in (
    select to_regclass(name) from unnest(%s::text[]) as given (name)
)
"""
