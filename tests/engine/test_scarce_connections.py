"""A database without a free connection: calls fail for the moment, and go on once it has one."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from demo.processes import Engine
from productsearch_engine.database.pool import WatchedPool
from productsearch_engine.database.watch import Watch
from tests.engine.databases import connected, one_postgresql

pytestmark = one_postgresql

TRIES = 9
"""More than a pool whose pauses double has in the time that a call waits."""


@pytest.fixture
def limited(engine: Engine) -> Iterator[tuple[psycopg.Connection[tuple[object, ...]], str]]:
    """The administrator's connection, and the DSN of an account that may not connect now."""
    with connected(engine) as administrator:
        administrator.execute("create role limited login connection limit 0")
        yield administrator, f"host={administrator.info.host} user=limited dbname=postgres"
        administrator.execute("drop role limited")


def test_connections_are_there_again(
    limited: tuple[psycopg.Connection[tuple[object, ...]], str], caplog: pytest.LogCaptureFixture
) -> None:
    """The pool goes on asking at short intervals, so the first call after that has a connection."""
    administrator, dsn = limited
    watch = Watch(dsn)
    with WatchedPool(dsn, watch, 2) as pool, caplog.at_level(logging.WARNING):
        with pytest.raises(PoolTimeout):
            pool.getconn(0.1)
        ends = time.monotonic() + 60
        while len(refusals(caplog)) < TRIES and time.monotonic() < ends:
            time.sleep(0.05)
        assert TRIES <= len(refusals(caplog))
        administrator.execute("alter role limited connection limit 2")
        with pool.connection() as connection:
            assert (1,) == connection.execute("select 1").fetchone()
    assert "no connection is left" in refusals(caplog)[0]
    assert dsn not in caplog.text


def test_a_command_goes_on_asking(
    limited: tuple[psycopg.Connection[tuple[object, ...]], str], caplog: pytest.LogCaptureFixture
) -> None:
    """One that would lose its work waits longer than a call for a connection."""
    administrator, dsn = limited
    with (
        WatchedPool(dsn, Watch(dsn), 2, patience_s=60) as pool,
        ThreadPoolExecutor(1) as threads,
        caplog.at_level(logging.WARNING),
    ):
        waiting = threads.submit(pool.getconn, 0.1)
        ends = time.monotonic() + 60
        while len(refusals(caplog)) < TRIES and time.monotonic() < ends:
            time.sleep(0.05)
        assert not waiting.done()
        administrator.execute("alter role limited connection limit 2")
        pool.putconn(waiting.result())


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged of connections that there were not."""
    return [line for line in caplog.messages if line.startswith("no connection")]
