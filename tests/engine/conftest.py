"""Libraries in the run's real engines, and callers of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool

from demo.processes import Engine
from productsearch_engine import settings
from productsearch_engine.database import cluster
from productsearch_engine.database.pool import open_pool
from productsearch_engine.embedding.load import load
from productsearch_engine.store.libraries import Libraries
from tests.engine.calling import Caller
from tests.engine.copies import Template, made_template
from tests.engine.databases import GIVEN, connected, dsn_of, given

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def pool(engine: Engine) -> Iterator[ConnectionPool[Any]]:
    """Connections to the engine's database, as the engine itself has them."""
    with open_pool(settings.load(given(), {"data": str(engine.data)}), 8) as opened:
        yield opened


@pytest.fixture(scope="session")
def plain_pool(request: pytest.FixtureRequest) -> Iterator[ConnectionPool[Any]]:
    """Connections to a database whose rows have no buckets, also if one that has is given."""
    if not GIVEN:
        yield request.getfixturevalue("pool")
        return
    data = request.getfixturevalue("open_engine").data
    with open_pool(settings.load({}, {"data": str(data)}), 8) as opened:
        yield opened


@pytest.fixture(scope="session")
def bucket_pool(engine: Engine, pool: ConnectionPool[Any]) -> Iterator[ConnectionPool[Any]]:
    """Connections to a database whose rows have buckets: the one given, or one of its own."""
    if GIVEN:
        yield pool
        return
    with connected(engine) as connection:
        connection.execute("create database buckets")
    dsn = make_conninfo(dsn_of(engine), dbname="buckets")
    with open_pool(settings.load({"PRODUCTSEARCH_ENGINE_DATABASE": dsn}, {}), 8) as opened:
        with opened.connection() as connection, connection.transaction():
            cluster.lay_out(connection)
        yield opened


@pytest.fixture
def indexed_pool(engine: Engine) -> Iterator[ConnectionPool[Any]]:
    """One connection whose planner takes the index even while to scan and sort would be cheaper."""
    dsn = make_conninfo(dsn_of(engine), options="-c enable_sort=off")
    chosen = settings.load({"PRODUCTSEARCH_ENGINE_DATABASE": dsn}, {})
    with open_pool(chosen, 1) as opened:
        yield opened


@pytest.fixture(scope="session")
def template() -> Iterator[Template]:
    """The data directory that engines of a test's own are copied from."""
    with made_template() as made:
        yield made


@pytest.fixture(scope="session")
def shared_caller(engine: Engine, pool: ConnectionPool[Any]) -> Iterator[Caller]:
    """A caller of a library that tests share: for calls that are refused."""
    made = _caller(engine, pool)
    yield made
    made.close()


@pytest.fixture(scope="session")
def open_caller(open_engine: Engine) -> Iterator[Caller]:
    """A caller of the engine that downloads from private addresses."""
    made = Caller(open_engine.url, *open_engine.create_library("open"))
    yield made
    made.close()


@pytest.fixture
def new_caller(engine: Engine, pool: ConnectionPool[Any]) -> Iterator[Callable[..., Caller]]:
    """Makes a caller of a new library; takes its capacity."""
    made: list[Caller] = []

    def make(capacity: int = 500_000) -> Caller:
        made.append(_caller(engine, pool, capacity))
        return made[-1]

    yield make
    for caller in made:
        caller.close()


def _caller(
    engine: Engine, pool: ConnectionPool[Any], capacity: int = 500_000, embedding: str = "classic"
) -> Caller:
    # What ``library create`` does, without starting Python for every test.
    loaded = load(embedding)
    made = Libraries(pool).create(
        f"library-{next(_numbers)}",
        capacity=capacity,
        embedding=loaded.name,
        dimensions=loaded.dimensions,
        api_key=None,
    )
    assert made.secret_key
    return Caller(engine.url, made.api_key, made.secret_key)


@pytest.fixture
def caller(new_caller: Callable[..., Caller]) -> Caller:
    """A caller of a library of the test's own."""
    return new_caller()


@pytest.fixture
def compact_caller(engine: Engine, pool: ConnectionPool[Any]) -> Iterator[Caller]:
    """A caller of a library with the embedding of new libraries."""
    caller = _caller(engine, pool, embedding="compact")
    yield caller
    caller.close()
