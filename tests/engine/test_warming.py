"""What searches read is read once at the start of an engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from psycopg_pool import ConnectionPool

from demo.processes import Engine
from productsearch_engine.store import warming
from productsearch_engine.store.warming import Warming
from tests.engine.databases import one_postgresql
from tests.engine.test_plans import DIMENSIONS, filled

pytestmark = one_postgresql

ALL = 2000


@pytest.fixture(scope="module")
def sizes(pool: ConnectionPool[Any]) -> Iterator[tuple[int, int]]:
    """Bytes of a library's index of vectors, and of all that its searches read."""
    vectors = np.random.default_rng(1).normal(size=(ALL, DIMENSIONS)).astype(np.float32)
    with filled(pool, vectors, [(None, None)] * ALL) as library, pool.connection() as connection:
        row = connection.execute(
            "select pg_relation_size(%(near)s || '_prefix_idx'),"
            " pg_table_size(%(near)s) + pg_table_size(%(all)s)",
            {"near": f"nearest_{library.id}", "all": f"images_{library.id}"},
        ).fetchone()
        assert row
        yield row


def test_all_is_read_within_a_bound(sizes: tuple[int, int], pool: ConnectionPool[Any]) -> None:
    """All files once; of a smaller bound no more than that; nothing after a stop."""
    index, tables = sizes
    assert Warming(pool, 1 << 40).read() > index + 0.5 * tables
    assert index == Warming(pool, index).read()
    assert 0 == Warming(pool, 1 << 40).read(lambda: True)


def test_what_a_search_reads_first_comes_first(
    sizes: tuple[int, int], pool: ConnectionPool[Any]
) -> None:
    """Indexes of vectors, then prefixes, then images, then the other indexes."""
    assert sizes
    with pool.connection() as connection:
        files = [path for path, _ in connection.execute(warming.FILES)]
        kinds = dict(
            connection.execute(
                "select pg_relation_filepath(c.oid), case when a.amname = 'hnsw' then 0"
                " when c.relkind = 'i' then 3 when c.relname like 'nearest%' then 1 else 2 end"
                " from pg_class c left join pg_am a on a.oid = c.relam"
                " where c.relkind in ('r', 'i')"
            ).fetchall()
        )
    found = [kinds[path] for path in files]
    assert {0, 1, 2, 3} == {*found}
    assert sorted(found) == found


def test_an_engine_reads_at_its_start(engine: Engine) -> None:
    """It tells how much, and how long it took."""
    assert "that searches need in" in engine.log()
