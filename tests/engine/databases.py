"""The way into an engine's embedded PostgreSQL, beside the engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import psycopg
import pytest

from demo.processes import Engine

GIVEN = os.environ.get("PRODUCTSEARCH_TEST_DATABASE", "")
"""A database that the run's shared engine works on in place of its own; see `make test-citus`."""


one_postgresql = pytest.mark.skipif(bool(GIVEN), reason="looks into tables of one PostgreSQL")
"""For tests that write to tables by themselves, or look at PostgreSQL's plans and processes."""


def given() -> dict[str, str]:
    """Return the engine's settings for the database that is given, if one is."""
    return {"PRODUCTSEARCH_ENGINE_DATABASE": GIVEN} if GIVEN else {}


def settings_of(engine: Engine) -> dict[str, str]:
    """Return the settings that name an engine's database, none if it is its own."""
    return given() if given().items() <= engine.environment.items() else {}


def dsn_of(engine: Engine) -> str:
    """Return the connection string of a running engine's database, as its administrator."""
    if settings_of(engine):
        return GIVEN
    lines = (engine.data / "postgres" / "postmaster.pid").read_text().splitlines()
    return f"host={lines[4]} user=postgres dbname=postgres"


@contextmanager
def connected(engine: Engine) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection to a running engine's database, as its administrator."""
    with psycopg.connect(dsn_of(engine), autocommit=True) as connection:
        yield connection


def postmaster(engine: Engine) -> int:
    """Return the process id of an engine's PostgreSQL."""
    return int((engine.data / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def children(parent: int) -> list[int]:
    """Return the process ids of a PostgreSQL's own processes."""
    return [child.pid for child in psutil.Process(parent).children()]
