"""Brings a database to this version's schema by numbered SQL files.

Each file runs once, in order. All pending files run in one transaction under an advisory lock,
so replicas may start together. Knows file names and the table ``schema_migrations``; the
schema itself is in the files, in the folder ``migrations``.
"""

from __future__ import annotations

import logging
import re
import time
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import errors, sql

from productsearch_engine.limits import LOCK_WAIT_S

_log = logging.getLogger(__name__)

# Any number, the same in every replica, that nothing else in the database uses as a lock.
_LOCK = 7_201_190_002
_PAUSE_S = 3
"""How long calls go on before a migration tries again."""

_NUMBER_MAX = 9999
_FILE = re.compile(r"(\d{4})_(\w+)\.sql")


class SchemaTooNewError(Exception):
    """The schema is none of this engine's: a newer engine's, or another program's."""


def apply(connection: psycopg.Connection[Any]) -> list[str]:
    """Run the pending files and return their names. Raises SchemaTooNewError.

    A database that has all of them is only read, so it may be one that takes no changes. A table
    that is read by somebody for long, such as a backup, is waited for in short turns: others would
    stand behind a migration that waits for it. ``connection`` commits by itself.
    """
    while True:
        if not _pending(connection):
            return []
        try:
            with connection.transaction():
                return _run(connection)
        except errors.LockNotAvailable:
            _log.warning(
                "the database is not migrated yet: another session, such as a backup, uses its"
                " tables; the next try is in %d s",
                _PAUSE_S,
            )
        time.sleep(_PAUSE_S)


def _pending(connection: psycopg.Connection[Any]) -> list[int]:
    """Return the numbers of the files that have not run yet. Raises SchemaTooNewError."""
    known = _files()
    applied: set[int] = set()
    there = connection.execute("select to_regclass('schema_migrations')").fetchone()
    if there != (None,):
        rows = connection.execute("select version from schema_migrations").fetchall()
        applied = {int(row[0]) for row in rows}
    if applied - known.keys():
        raise SchemaTooNewError(_too_new(max(applied), max(known)))
    return sorted(known.keys() - applied)


def _run(connection: psycopg.Connection[Any]) -> list[str]:
    connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
    connection.execute(sql.SQL("set local lock_timeout = {}").format(int(LOCK_WAIT_S * 1000)))
    connection.execute(
        "create table if not exists schema_migrations (version int primary key,"
        " name text not null, applied_at timestamptz not null default now())"
    )
    known, pending = _files(), _pending(connection)
    for version in pending:
        name, statements = known[version]
        connection.execute(sql.SQL(statements))
        connection.execute("insert into schema_migrations values (%s, %s)", [version, name])
    return [known[version][0] for version in pending]


def _too_new(applied: int, known: int) -> str:
    if applied > _NUMBER_MAX:
        return (
            f"its table schema_migrations is another program's (it has {applied}): give the engine"
            " a database of its own"
        )
    return (
        f"a newer engine has migrated it, to {applied}; this one knows migrations up to {known}:"
        " upgrade it"
    )


def versions() -> set[int]:
    """Return the numbers of all files."""
    return {*_files()}


def _files() -> dict[int, tuple[str, str]]:
    found: dict[int, tuple[str, str]] = {}
    for file in (files("productsearch_engine.database") / "migrations").iterdir():
        named = _FILE.fullmatch(file.name)
        if named:
            found[int(named[1])] = (named[2], file.read_text("utf-8"))
    return found
