"""Backups by PostgreSQL's own tools, and what a database has, to compare a restored one with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from demo.processes import Engine
from productsearch_engine.database.programs import Programs
from tests.engine.databases import connected

DUMP: Final = ("-Fd", "-j", "2", "-Z", "1")
RESTORE: Final = ("-j", "2", "--exit-on-error")
BUILDING: Final = "-c maintenance_work_mem=2GB"
"""A recipe, as docs/operating.md tells it. PostgreSQL's options are for indexes of vectors."""


def run(engine: Engine, name: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs for an engine's server."""
    with connected(engine) as connection:
        host = connection.info.host
    Programs(engine.data / "log").run(name, "-h", host, "-U", "postgres", *arguments)


def dump(engine: Engine, folder: Path) -> None:
    """Dump an engine's database, while it is used, into a folder that is not there yet."""
    run(engine, "pg_dump", *DUMP, "-f", str(folder), "postgres")


def restore(engine: Engine, folder: Path, database: str) -> None:
    """Restore a dump into an empty database of an engine's server."""
    to = make_conninfo(dbname=database, options=BUILDING)
    run(engine, "pg_restore", *RESTORE, "-d", to, str(folder))


def base_backup(engine: Engine, data: Path) -> None:
    """Copy an engine's server, while it is used, to where an engine with ``data`` has its own."""
    data.mkdir(mode=0o711)
    given(data / "postgres")
    run(engine, "pg_basebackup", "-D", str(data / "postgres"), "-c", "fast")
    (data / "signing.key").write_bytes((engine.data / "signing.key").read_bytes())


def given(folder: Path) -> Path:
    """Make a folder that PostgreSQL's account can write, which as root is another one."""
    folder.mkdir(mode=0o700)
    Programs(folder / "log").give(folder)
    return folder


def contents(connection: psycopg.Connection[Any]) -> dict[str, tuple[int, int]]:
    """Return how many rows each table has, and a sum of their digests: equal for equal rows."""
    found = {}
    for (name,) in connection.execute(_TABLES).fetchall():
        row = connection.execute(sql.SQL(_CONTENT).format(sql.Identifier(name))).fetchone()
        assert row
        found[str(name)] = int(row[0]), int(row[1])
    return found


_TABLES: Final[LiteralString] = (
    "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
)
_CONTENT: Final[LiteralString] = (
    "select count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) from {} t"
)
