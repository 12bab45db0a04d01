"""The way into an engine's embedded PostgreSQL, beside the engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import psycopg

from demo.processes import Engine


@contextmanager
def connected(engine: Engine) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection to a running engine's database, as its administrator."""
    lines = (engine.data / "postgres" / "postmaster.pid").read_text().splitlines()
    with psycopg.connect(host=lines[4], user="postgres", autocommit=True) as connection:
        yield connection


def postmaster(engine: Engine) -> int:
    """Return the process id of an engine's PostgreSQL."""
    return int((engine.data / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def children(parent: int) -> list[int]:
    """Return the process ids of a PostgreSQL's own processes."""
    return [child.pid for child in psutil.Process(parent).children()]
