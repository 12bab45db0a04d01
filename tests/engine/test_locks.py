"""Changes that need a library's tables for themselves, beside who reads them for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from productsearch_engine.bulk.importing import Importer
from productsearch_engine.bulk.source import Source
from productsearch_engine.database.pool import WatchedPool
from productsearch_engine.store import locks
from productsearch_engine.store.bulk_index import BulkIndex
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.images import Images
from productsearch_engine.store.libraries import Libraries, Library, LibraryError
from productsearch_engine.store.library_settings import LibrarySettings
from productsearch_engine.store.locks import InUseError
from productsearch_engine.store.reembeddings import Reembeddings
from tests.engine.bulk_library import counted, library, rows, stored, write
from tests.engine.databases import one_postgresql
from tests.engine.test_store import EVERY, vector

pytestmark = one_postgresql

Change = Callable[[WatchedPool, Library], object]

CHANGES: dict[str, Change] = {
    "empty": lambda pool, shop: BulkRows(pool).empty(shop),
    "delete": lambda pool, shop: Libraries(pool).delete(shop.name),
    "keep no images": lambda pool, shop: LibrarySettings(pool).keep_images(shop.name, keep=False),
    "drop the index": lambda pool, shop: BulkIndex(pool).drop(shop),
    "discard an embedding": lambda pool, shop: Reembeddings(pool).discard(shop),
    "create": lambda pool, _: library(pool),
}


def _read(connection: psycopg.Connection[Any], shop: Library) -> None:
    """Begin to read all that a library has, as a backup does."""
    for table in ("images", f"images_{shop.id}", f"nearest_{shop.id}", f"kept_{shop.id}"):
        connection.execute(f"select from {table} limit 1".encode())
    connection.execute(f"select from reembedding_{shop.id} limit 1".encode())


@pytest.mark.parametrize("name", CHANGES)
def test_a_long_reader_stops_no_call(
    pool: WatchedPool, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The change gives up and has changed nothing; once the reader has ended it is done."""
    monkeypatch.setattr(locks, "LOCK_WAIT_S", 0.1)
    monkeypatch.setattr(locks, "LOCK_PAUSE_S", 0.1)
    monkeypatch.setattr(locks, "LOCK_PATIENCE_S", 0.5)
    shop = library(pool)
    BulkRows(pool).load(shop, list(rows(20)))
    Reembeddings(pool).begin(shop, "other-1", 8)
    outcome: list[object] = []

    def change() -> None:
        try:
            outcome.append(CHANGES[name](pool, shop))
        except (InUseError, psycopg.Error) as error:
            outcome.append(error)

    with psycopg.connect(str(pool.conninfo)) as reader:
        _read(reader, shop)
        changing = threading.Thread(target=change)
        changing.start()
        while changing.is_alive():
            assert 5 == len(Images(pool).search(shop, vector(1), EVERY, 0, 5)[0])
            time.sleep(0.01)
    assert [InUseError] == [type(each) for each in outcome]
    assert 20 == counted(pool, shop) == len(stored(pool, shop))
    outcome.clear()
    change()
    assert not isinstance(outcome[0], Exception)


@pytest.mark.parametrize("name", ["empty", "delete"])
def test_an_index_that_is_being_built_is_given_up(pool: WatchedPool, name: str) -> None:
    """It would take minutes, be of rows that are gone, and be ended by a deadlock."""
    shop = library(pool)
    BulkRows(pool).load(shop, list(rows(20)))
    index = BulkIndex(pool)
    index.drop(shop)
    outcome: list[str] = []

    def build() -> None:
        try:
            index.build(shop, 0)
        except LibraryError as error:
            outcome.append(str(error))

    with psycopg.connect(str(pool.conninfo)) as older:
        # What has an older snapshot is waited for before an index counts.
        older.execute("set transaction isolation level repeatable read")
        older.execute("select")
        building = threading.Thread(target=build)
        building.start()
        while not _is_building(pool):
            time.sleep(0.01)
        CHANGES[name](pool, shop)
        building.join()
    assert "was given up" in outcome[0]
    if name == "empty":
        assert not index.is_dropped(shop)
        with pool.connection() as connection:
            row = connection.execute(
                "select count(*), bool_and(indisvalid) from pg_index where indrelid = %s::regclass",
                [f"nearest_{shop.id}"],
            ).fetchone()
        assert (2, True) == row  # its key, and the vectors


@pytest.mark.parametrize("change", ["create", "keep images"])
def test_a_new_table_of_copies_and_a_delete_do_not_wait_for_each_other(
    pool: WatchedPool, change: str
) -> None:
    """A delete locks the libraries, then the copies; so do changes, or one of both fails."""
    shop, other = library(pool), library(pool)
    LibrarySettings(pool).keep_images(other.name, keep=False)
    changes: dict[str, Change] = {
        "create": CHANGES["create"],
        "keep images": lambda pool, _: LibrarySettings(pool).keep_images(other.name, keep=True),
    }
    with psycopg.connect(str(pool.conninfo)) as deleting:
        deleting.execute("set lock_timeout = '500ms'")
        deleting.execute("update libraries set image_count = image_count where id = %s", [shop.id])
        changing = threading.Thread(target=changes[change], args=(pool, shop))
        changing.start()
        while not _waits_for(pool, "libraries"):
            assert changing.is_alive()
            time.sleep(0.01)
        deleting.execute("delete from kept_images where library_id = %s", [shop.id])
    changing.join()
    assert Libraries(pool).named(other.name).keep_images == (change == "keep images")


def _waits_for(pool: WatchedPool, table: str) -> bool:
    with pool.connection() as connection:
        row = connection.execute(
            "select count(*) from pg_locks where relation = %s::regclass and not granted", [table]
        ).fetchone()
    return row != (0,)


def _is_building(pool: WatchedPool) -> bool:
    with pool.connection() as connection:
        row = connection.execute("select count(*) from pg_stat_progress_create_index").fetchone()
    return row != (0,)


def test_an_import_into_an_emptied_library_begins_anew(
    pool: WatchedPool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had loaded before it was killed is gone, so it is no part of what is done."""
    monkeypatch.setattr("productsearch_engine.bulk.importing.IMPORT_BATCH_ROWS", 10)
    shop, made = library(pool), list(rows(45))
    source = Source.of(write(tmp_path / "a.ndjson", made))

    def end(now: Any) -> None:
        if now.rows_read == 20:
            raise KeyboardInterrupt

    def no_images() -> Any:
        raise AssertionError("no row brings an image")

    importer = Importer(
        BulkRows(pool),
        shop,
        describer=no_images,
        require=lambda: None,
        shortage=lambda _: None,
    )
    with suppress(KeyboardInterrupt):
        importer.load(source, end)
    assert 20 == BulkRows(pool).empty(shop)
    done = importer.load(source, lambda _: None)
    assert (45, 45) == (done.rows_read, done.added)
    assert 45 == counted(pool, shop) == len(stored(pool, shop))
