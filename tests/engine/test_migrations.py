"""Migrations beside others: who reads the tables for long, and a database that takes no changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from demo.processes import Engine
from productsearch_engine import settings
from productsearch_engine.database import migrate
from productsearch_engine.database.other import OtherDatabaseError, blamed
from productsearch_engine.database.pool import open_pool
from productsearch_engine.store.libraries import Libraries
from tests.engine.databases import connected, dsn_of, one_postgresql

pytestmark = one_postgresql

_TAKEN_BACK = "alter table apps drop column old_secret_digest, drop column old_until"
_VERSION = 25


@pytest.fixture
def dsn(engine: Engine) -> Iterator[str]:
    """A migrated database of the test's own."""
    with connected(engine) as connection:
        connection.execute("create database migrated")
    made = make_conninfo(dsn_of(engine), dbname="migrated")
    with psycopg.connect(made, autocommit=True) as connection:
        migrate.apply(connection)
    yield made
    with connected(engine) as connection:
        connection.execute("drop database migrated")


def test_nobody_waits_behind_a_migration(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a backup reads what it alters; it is done as soon as that has ended."""
    monkeypatch.setattr(migrate, "LOCK_WAIT_S", 0.1)
    monkeypatch.setattr(migrate, "_PAUSE_S", 0.1)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(_TAKEN_BACK)
        connection.execute("delete from schema_migrations where version = %s", [_VERSION])
    told: list[list[str]] = []

    def run() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            told.append(migrate.apply(connection))

    migrating = threading.Thread(target=run)
    with psycopg.connect(dsn) as backup, psycopg.connect(dsn, autocommit=True) as other:
        backup.execute("select from apps")
        migrating.start()
        other.execute("set statement_timeout = '10s'")
        ends_s = time.monotonic() + 1.0
        while time.monotonic() < ends_s:
            other.execute("select from apps")
            time.sleep(0.02)
        assert migrating.is_alive()
    migrating.join()
    assert [["key_overlap"]] == told


def test_a_database_that_takes_no_changes_is_opened(dsn: str) -> None:
    """Such as a standby that searches are sent to, if it has all migrations."""
    read_only = make_conninfo(dsn, options="-c default_transaction_read_only=on")
    with open_pool(settings.load({"PRODUCTSEARCH_ENGINE_DATABASE": read_only}, {}), 1) as pool:
        assert [] == Libraries(pool).list()


def test_a_newer_database_is_refused(dsn: str) -> None:
    """Also by an engine that has nothing to change in it."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("insert into schema_migrations values (9000, 'future')")
        with pytest.raises(migrate.SchemaTooNewError, match="9000"):
            migrate.apply(connection)


def test_a_newer_database_to_copy_to_is_named(engine: Engine, dsn: str) -> None:
    """By the option, as all that keeps it from being used."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("insert into schema_migrations values (9000, 'future')")
    there = settings.load({"PRODUCTSEARCH_ENGINE_DATABASE": dsn}, {})
    with (
        open_pool(settings.load({}, {"data": str(engine.data)}), 1) as here,
        pytest.raises(OtherDatabaseError, match=r"--to: .*has migrated it, to 9000"),
        blamed(dsn, "--to", here.watch),
        open_pool(there, 1),
    ):
        pass
