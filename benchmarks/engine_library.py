"""Fills a library of the engine with drawn vectors, and measures what storing takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import psycopg
from psycopg import sql
from psycopg_pool import ConnectionPool

from benchmarks.engine_vectors import DIMENSIONS, EMBEDDING, Drawn
from productsearch_engine.bulk import indexing
from productsearch_engine.database.pool import WatchedPool
from productsearch_engine.limits import IMPORT_BATCH_ROWS
from productsearch_engine.settings import Settings
from productsearch_engine.store import tables
from productsearch_engine.store.bulk_index import BulkIndex
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.images import Images, NewImage
from productsearch_engine.store.libraries import Libraries, Library
from productsearch_engine.store.rows import Row

WRITERS: Final = 8
_BRIEF: Final = b'{"sku": "%012d", "title": "a product with a name of usual length"}'
_ADDS_FROM: Final = 1 << 40
"""Signs of images that are added one by one; those that are copied have lower ones."""


@dataclass(frozen=True)
class Filled:
    """A library with its images, and the seconds that the rows and then the index took."""

    library: Library
    loaded_s: float
    built_s: float


def filled(chosen: Settings, pool: WatchedPool, drawn: Drawn) -> Filled:
    """Return a new library with all vectors, sign n for the n-th, loaded as an import does."""
    libraries, index = Libraries(pool), BulkIndex(pool)
    name = f"bench-{len(drawn.vectors)}"
    libraries.create(name, capacity=10**9, embedding=EMBEDDING, dimensions=DIMENSIONS, api_key=None)
    library = libraries.named(name)
    index.drop(library)
    rows, bulk = list(_rows(drawn)), BulkRows(pool)
    began_s = time.perf_counter()
    for first in range(0, len(rows), IMPORT_BATCH_ROWS):
        bulk.load(library, rows[first : first + IMPORT_BATCH_ROWS])
    loaded_s = time.perf_counter() - began_s
    indexing.build(chosen, pool, library)
    built_s = time.perf_counter() - began_s - loaded_s
    with _long(pool) as connection:
        for table in (tables.images(library.id), tables.nearest(library.id)):
            connection.execute(sql.SQL("vacuum (analyze) {}").format(table))
    return Filled(libraries.named(name), loaded_s, built_s)


def sizes(pool: ConnectionPool[Any], library: Library) -> dict[str, int]:
    """Return the bytes of the tables with their indexes, and of the index of the vectors.

    Indexes of classes are apart.
    """
    images, nearest = tables.images(library.id, library.generation), tables.nearest(library.id)
    names = [table.as_string(None) for table in (images, nearest)]
    with pool.connection() as connection:
        row = connection.execute(
            "select (select sum(pg_total_relation_size(name::regclass))"
            " from unnest(%(names)s::text[]) name),"
            " coalesce(sum(pg_relation_size(c.oid)) filter (where i.indpred is null), 0),"
            " coalesce(sum(pg_relation_size(c.oid)) filter (where i.indpred is not null), 0)"
            " from pg_index i join pg_class c on c.oid = i.indexrelid"
            " join pg_am a on a.oid = c.relam"
            " where i.indrelid = any(%(names)s::regclass[]) and a.amname = 'hnsw'",
            {"names": names},
        ).fetchone()
    assert row is not None
    return {"all": int(row[0]) - int(row[2]), "index": int(row[1])}


def adds_a_second(pool: ConnectionPool[Any], library: Library, drawn: Drawn, count: int) -> float:
    """Add new images with eight writers, each in a transaction of its own, vectors given."""
    images = Images(pool)
    random = np.random.default_rng(5)

    def add(number: int) -> None:
        near = drawn.vectors[number % len(drawn.vectors)].astype(np.float32)
        vector = near + random.normal(0, 0.01, DIMENSIONS)
        images.add(
            library,
            NewImage(
                digest=(_ADDS_FROM + number).to_bytes(8) + bytes(24),
                brief=_BRIEF % number,
                class_id1=number % 5 + 1,
                class_id2=5,
                embedding=np.asarray(vector / np.linalg.norm(vector), np.float32),
            ),
        )

    return _a_second(add, count)


def updates_a_second(pool: ConnectionPool[Any], library: Library, count: int) -> float:
    """Change briefs of stored images, drawn at random, with eight writers."""
    images = Images(pool)
    signs = np.random.default_rng(6).integers(0, library.image_count, count)

    def update(number: int) -> None:
        brief = _BRIEF % (number + 10**9)
        if not images.update(
            library, [int(signs[number])], brief=brief, class_id1=None, class_id2=None
        ):
            raise AssertionError("an image that is stored was not found")

    return _a_second(update, count)


def hot_updates(pool: ConnectionPool[Any], library: Library) -> int:
    """Return how many updates so far left all indexes alone."""
    with pool.connection() as connection:
        connection.execute("select pg_stat_force_next_flush()")
        time.sleep(1)
        row = connection.execute(
            "select n_tup_hot_upd from pg_stat_user_tables where relname = %s",
            [tables.images(library.id, library.generation).as_string(None).strip('"')],
        ).fetchone()
    return int(row[0]) if row else 0


def _a_second(work: Callable[[int], None], count: int) -> float:
    began_s = time.perf_counter()
    with ThreadPoolExecutor(WRITERS) as writers:
        for _ in writers.map(work, range(count)):
            pass
    return count / (time.perf_counter() - began_s)


def _rows(drawn: Drawn) -> Iterator[Row]:
    for sign, vector in enumerate(drawn.vectors):
        yield Row(
            sign=sign,
            digest=sign.to_bytes(32),
            brief=_BRIEF % sign,
            class_id1=int(drawn.at_random[sign]),
            class_id2=int(drawn.alike[sign]),
            vector=vector.astype("<f2").tobytes(),
            created_at=None,
            updated_at=None,
            copy=None,
            region=None,
        )


@contextmanager
def _long(pool: ConnectionPool[Any]) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection of its own without limits of time, with the pool's address."""
    with psycopg.connect(str(pool.conninfo), autocommit=True) as connection:
        yield connection
