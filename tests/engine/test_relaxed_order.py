"""Scans of an index of vectors go on in relaxed order: strict order drops what is found late."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from psycopg import Connection
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool

from demo.processes import Engine
from productsearch_engine import settings
from productsearch_engine.database.pool import SEARCH_SETTINGS, open_pool
from productsearch_engine.store.images import half
from tests.engine.databases import dsn_of, one_postgresql
from tests.engine.test_plans import DIMENSIONS, Vectors, filled

pytestmark = one_postgresql

IMAGES, KINDS, QUERIES, READ = 2500, 50, 20, 1900


def _scanned(connection: Connection[Any], text: bytes, queries: Vectors) -> list[list[float]]:
    """Return the distances of what a scan of the index brings, as it brings it."""
    return [[row[0] for row in connection.execute(text, [half(query)])] for query in queries]


def _is_late(distances: list[float]) -> bool:
    """Return whether something nearer comes behind something farther."""
    # The index has vectors of unit length, in half precision.
    return any(behind < before - 0.005 for before, behind in pairwise(distances))


def test_a_scan_brings_what_it_finds_late(engine: Engine, pool: ConnectionPool[Any]) -> None:
    """With small steps a step finds images nearer than those before; in strict order none comes."""
    random = np.random.default_rng(8)
    # The links of an image lead to others of its own kind, so whole kinds are found late.
    kinds = random.normal(size=(KINDS, DIMENSIONS)).repeat(IMAGES // KINDS, 0)
    vectors = (kinds + 0.02 * random.normal(size=kinds.shape)).astype(np.float32)
    queries = random.normal(size=(QUERIES, DIMENSIONS)).astype(np.float32)
    assert "relaxed_order" == SEARCH_SETTINGS["hnsw.iterative_scan"]
    small = settings.load({"PRODUCTSEARCH_ENGINE_DATABASE": make_conninfo(dsn_of(engine))}, {})
    with (
        filled(pool, vectors, [(None, None)] * IMAGES) as library,
        open_pool(small, 1) as own,
        own.connection() as connection,
    ):
        text = (
            f"select prefix <=> %s as off from nearest_{library.id} order by off limit {READ}"
        ).encode()
        for setting in ("enable_sort = off", "enable_seqscan = off", "hnsw.ef_search = 10"):
            connection.execute(f"set {setting}".encode())
        relaxed = _scanned(connection, text, queries)
        connection.execute("set hnsw.iterative_scan = strict_order")
        strict = _scanned(connection, text, queries)
    assert any(_is_late(distances) for distances in relaxed)
    assert not any(_is_late(distances) for distances in strict)
    # Of the nearest hundred, those that strict order never brings.
    lost = sum(
        len(set(sorted(found)[:100]) - set(brought))
        for found, brought in zip(relaxed, strict, strict=True)
    )
    assert lost > 0
