"""Indexes that an import has dropped, and those of classes that are built beside it."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from productsearch_engine.database.pool import WatchedPool
from productsearch_engine.store.bulk_index import BulkIndex
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.class_indexes import Bounds, Class, ClassIndexes
from productsearch_engine.store.libraries import Libraries, Library, LibraryError
from productsearch_engine.store.nearest_builds import NearestBuilds, building
from tests.engine.bulk_library import library, rows
from tests.engine.databases import one_postgresql

pytestmark = one_postgresql

CLASS: Class = ("class_id1", 1)
SMALLEST = Bounds(library=0, large=1)


@pytest.fixture
def shop(pool: WatchedPool) -> Library:
    """A library of 60 images of many classes."""
    made = library(pool)
    BulkRows(pool).load(made, list(rows(60)))
    with pool.connection() as connection:
        connection.execute(f"update images_{made.id} set class_id1 = 1".encode())
    return Libraries(pool).named(made.name)


def predicates(pool: WatchedPool, shop: Library) -> list[str | None]:
    """Return the conditions of the indexes of vectors that are complete; None: that of all."""
    with pool.connection() as connection:
        found = connection.execute(
            "select pg_get_expr(indpred, indrelid) from pg_index i"
            " join pg_class c on c.oid = indexrelid join pg_am a on a.oid = c.relam"
            " where indrelid = to_regclass(%s) and indisvalid and a.amname = 'hnsw' order by 1",
            [f"nearest_{shop.id}"],
        ).fetchall()
    return [row[0] for row in found]


def build_of_class(pool: WatchedPool, shop: Library) -> None:
    """Build it as an engine does that has not seen that the indexes are dropped."""
    with building(pool) as connection:
        ClassIndexes(SMALLEST).build(connection, shop, CLASS)


def test_an_index_that_took_the_name_takes_no_place(pool: WatchedPool, shop: Library) -> None:
    """Both are there in the end: the import's own, and the one that was built meanwhile."""
    index = BulkIndex(pool)
    index.drop(shop)
    build_of_class(pool, shop)
    index.build(shop, 0)
    assert ["(class_id1 = 1)", None] == predicates(pool, shop)
    assert not index.is_dropped(shop)


@pytest.mark.parametrize("ends", ["build", "empty"])
def test_two_that_were_dropped_under_one_name_come_back(
    pool: WatchedPool, shop: Library, ends: str
) -> None:
    """An import that was killed, an index of a class, and an import again."""
    index = BulkIndex(pool)
    index.drop(shop)
    build_of_class(pool, shop)
    index.drop(shop)
    assert [] == predicates(pool, shop)
    if ends == "build":
        index.build(shop, 0)
    else:
        BulkRows(pool).empty(shop)
    assert ["(class_id1 = 1)", None] == predicates(pool, shop)
    index.build(shop, 0)
    assert ["(class_id1 = 1)", None] == predicates(pool, shop)


def test_none_is_asked_for_while_they_are_dropped(pool: WatchedPool, shop: Library) -> None:
    """The command says what to wait for."""
    builds, index = NearestBuilds(pool, class_indexes=ClassIndexes(SMALLEST)), BulkIndex(pool)
    index.drop(shop)
    with pytest.raises(LibraryError, match="an import has dropped the indexes"):
        builds.index_class(shop, CLASS)
    index.build(shop, 0)
    builds.index_class(shop, CLASS)
    assert ["(class_id1 = 1)", None] == predicates(pool, shop)


def test_an_import_waits_for_no_index_of_a_class(pool: WatchedPool, shop: Library) -> None:
    """One that is being built is given up, and says so."""
    told: list[str] = []

    def build() -> None:
        try:
            NearestBuilds(pool, class_indexes=ClassIndexes(SMALLEST)).index_class(shop, CLASS)
        except LibraryError as error:
            told.append(str(error))

    with psycopg.connect(str(pool.conninfo)) as older:
        # What has an older snapshot is waited for before an index counts.
        older.execute("set transaction isolation level repeatable read")
        older.execute("select")
        building_it = threading.Thread(target=build)
        building_it.start()
        while not BulkIndex(pool).built(shop).waits:
            assert building_it.is_alive()
            time.sleep(0.01)
        BulkIndex(pool).drop(shop)
        building_it.join()
    assert "the index was given up: an import" in told[0]
    assert [] == predicates(pool, shop)
    BulkIndex(pool).build(shop, 0)
    assert [None] == predicates(pool, shop)
