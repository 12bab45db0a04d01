"""A database that was filled by imports is restored elsewhere by PostgreSQL's own tools."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import psycopg

from demo.processes import Engine
from tests.engine import backups
from tests.engine.databases import connected, dsn_of
from tests.soak.measures import Measure, equal

_OUTGREW: Final = "no longer fits into maintenance_work_mem"


def restored(engine: Engine, folder: Path, name: str) -> list[Measure]:
    """Restore a base backup as another server, and a dump as a database there; compare all tables.

    folder: one that PostgreSQL's account can pass. name: of a library that engines have to list.
    """
    with connected(engine) as connection:
        before = backups.contents(connection)
    began_s = time.monotonic()
    backups.base_backup(engine, folder / "copied")
    with Engine(folder / "copied") as other:
        _tell("base backup, with the start of its copy", began_s)
        with connected(other) as connection:
            copied = backups.contents(connection)
            connection.execute("create database dumped")
            # Less than the smallest index takes: without the recipe's memory it outgrows it.
            connection.execute("alter database dumped set maintenance_work_mem = '1MB'")
            connection.execute("alter database dumped set log_min_messages = 'notice'")
        listed = name in other.command("library", "list")
        began_s = time.monotonic()
        dump = backups.given(folder / "dumps") / "dump"
        backups.dump(engine, dump)
        _tell("dump", began_s)
        began_s = time.monotonic()
        backups.restore(other, dump, "dumped")
        _tell("its restore", began_s)
        dsn = dsn_of(other).replace("dbname=postgres", "dbname=dumped")
        with psycopg.connect(dsn, autocommit=True) as connection:
            dumped = backups.contents(connection)
        logged = (other.data / "postgres" / "server.log").read_text("utf-8")
    return [
        equal("libraries of the base backup that its engine lists", listed, 1),
        equal("indexes of vectors that outgrew their memory", logged.count(_OUTGREW), 0),
        equal("tables that differ in the base backup", _differing(before, copied), 0),
        equal("tables that differ after dump and restore", _differing(before, dumped), 0),
    ]


def _differing(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> int:
    differ = {name for name in before | after if before.get(name) != after.get(name)}
    for name in sorted(differ):
        print(f"{name}: {before.get(name)} before, {after.get(name)} restored")
    return len(differ)


def _tell(what: str, began_s: float) -> None:
    print(f"{what}: {time.monotonic() - began_s:.0f} s", flush=True)
