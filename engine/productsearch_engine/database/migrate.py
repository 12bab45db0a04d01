"""Brings a database to this version's schema by numbered SQL files.

Each file runs once, in order. All pending files run in one transaction under an advisory lock,
so replicas may start together. Knows file names and the table ``schema_migrations``; the
schema itself is in the files, in the folder ``migrations``.
"""

from __future__ import annotations

import re
import time
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import errors, sql

# Any number, the same in every replica, that nothing else in the database uses as a lock.
_LOCK = 7_201_190_002
_LOCK_WAIT_S = 2
_PAUSE_S = 1.0
_NUMBER_MAX = 9999
_FILE = re.compile(r"(\d{4})_(\w+)\.sql")


class SchemaTooNewError(Exception):
    """The schema is none of this engine's: a newer engine's, or another program's."""


def apply(connection: psycopg.Connection[Any]) -> list[str]:
    """Run the pending files and return their names. Raises SchemaTooNewError."""
    while True:
        try:
            return _apply(connection)
        except errors.LockNotAvailable:
            # Whoever comes to a table meanwhile waits behind the lock that is waited for: an
            # export by the version before would stop all calls for as long as it takes.
            time.sleep(_PAUSE_S)


def _apply(connection: psycopg.Connection[Any]) -> list[str]:
    known = _files()
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        connection.execute(f"set local lock_timeout = '{_LOCK_WAIT_S}s'".encode())
        connection.execute(
            "create table if not exists schema_migrations (version int primary key,"
            " name text not null, applied_at timestamptz not null default now())"
        )
        rows = connection.execute("select version from schema_migrations").fetchall()
        applied = {int(row[0]) for row in rows}
        if applied - known.keys():
            raise SchemaTooNewError(_too_new(max(applied), max(known)))
        pending = sorted(known.keys() - applied)
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
