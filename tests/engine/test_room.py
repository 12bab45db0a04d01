"""A library's room: never more images than it has, never a refusal while there is a place."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from productsearch_engine.store import room
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.images import Images, LibraryFullError
from productsearch_engine.store.journal import Author, Journal
from productsearch_engine.store.libraries import Libraries, Library
from tests.engine.bulk_library import rows
from tests.engine.test_store import held_up, image, library

Pool = ConnectionPool[Any]
ME = Author(name="me", address="here")


def counted(pool: Pool, of: Library) -> tuple[int, int, int]:
    """Return images counted, images stored, and places that are lent."""
    with pool.connection() as connection:
        row = connection.execute(
            f"select (select count(*) from images_{of.id}), lent_room_of({of.id})"
        ).fetchone()
    assert row
    return Libraries(pool).named(of.name).image_count, row[0], row[1]


@pytest.mark.parametrize("capacity", [1, 2, 9, 40, 77, 79])
def test_writers_fill_a_library_to_the_last_place(pool: Pool, capacity: int) -> None:
    """Eight at once store as many as fit, then delete some and fill it again."""
    shop, images = library(pool, f"full-{capacity}", capacity=capacity), Images(pool)

    def add(seed: int) -> int | None:
        try:
            return images.add(shop, image(seed))
        except LibraryFullError:
            return None

    with ThreadPoolExecutor(8) as writers:
        added = [sign for sign in writers.map(add, range(80)) if sign is not None]
        assert (capacity, capacity, 0) == (len(added), *counted(pool, shop)[1:])
        freed = added[: capacity // 2 + 1]
        assert len(freed) == sum(writers.map(lambda sign: images.delete(shop, [sign]), freed))
        again = [sign for sign in writers.map(add, range(100, 180)) if sign is not None]
    assert (len(freed), capacity, capacity, 0) == (len(again), *counted(pool, shop))


def _add(pool: Pool, shop: Library) -> int:
    return len([Images(pool).add(shop, image(seed)) for seed in range(20, 24)])


def _load(pool: Pool, shop: Library) -> int:
    return BulkRows(pool).load(shop, list(rows(9, plain=True))).taken


def _undo(pool: Pool, shop: Library) -> int:
    images, journal = Images(pool), Journal(pool)
    signs = [images.add(shop, image(seed)) for seed in range(20, 24)]
    change, _ = journal.delete(shop, signs, ME)
    assert change is not None
    _lend_all(pool, shop)
    return journal.undo(shop, change, ME)[0]


def _lend_all(pool: Pool, shop: Library) -> None:
    """Let stripes that no connection of this test has hold all places."""
    with pool.connection() as connection:
        room.take_back(connection, shop)
        connection.execute(
            "with free as (update libraries set image_count = capacity where id = %(id)s"
            " returning (select capacity - image_count from libraries where id = %(id)s) as places)"
            " insert into lent_room select %(id)s, 1000 + n, greatest(places - 1, 0) * (1 - n) + n"
            " from free, generate_series(0, 1) n"
            " on conflict (library_id, stripe) do update set lent = excluded.lent",
            {"id": shop.id},
        )


@pytest.mark.parametrize("store", [_add, _load, _undo])
def test_what_others_were_lent_is_room(pool: Pool, store: Callable[[Pool, Library], int]) -> None:
    """Whoever stores images gets the places that stripes hold and do not need."""
    shop = library(pool, f"lent{store.__name__}", capacity=4)
    _lend_all(pool, shop)
    assert (0, 0, 4) == counted(pool, shop)
    assert 4 == store(pool, shop)
    assert (4, 4, 0) == counted(pool, shop)
    with pytest.raises(LibraryFullError):
        Images(pool).add(shop, image(99))


def test_a_place_is_waited_for_while_another_add_takes_it(pool: Pool) -> None:
    """The last place of another stripe: refused if that add succeeds, and stores nothing."""
    shop, images = library(pool, "last-of-another", capacity=1), Images(pool)
    _lend_all(pool, shop)
    taken = "update lent_room set lent = 0 where library_id = %s"
    with ThreadPoolExecutor(1) as other:
        with held_up(pool, taken, shop.id):
            second = other.submit(images.add, shop, image(1))
        with pytest.raises(LibraryFullError):
            second.result()
    assert images.find(shop, image(1).digest) is None


def test_an_empty_library_has_nothing_lent(pool: Pool) -> None:
    """Emptying tells how many images there were; the count begins at none."""
    shop, images = library(pool, "emptied"), Images(pool)
    for seed in range(3):
        images.add(shop, image(seed))
    assert 3 == counted(pool, shop)[0]
    assert 3 == BulkRows(pool).empty(shop)
    assert (0, 0, 0) == counted(pool, shop)


def test_adds_do_not_wait_for_the_library_s_row(pool: Pool) -> None:
    """While somebody holds the row, whoever has places goes on."""
    shop, images = library(pool, "unhurried"), Images(pool)
    with pool.connection() as connection, connection.transaction():
        # Each connection that the others may get has been lent places.
        with ThreadPoolExecutor(7) as writers:
            list(writers.map(lambda seed: images.add(shop, image(seed)), range(70)))
        connection.execute("select from libraries where id = %s for update", [shop.id])
        with pool.connection() as other:
            stripe = room.stripe(other)
            assert connection.execute(
                "select from lent_room where library_id = %s and stripe = %s and lent > 0",
                [shop.id, stripe],
            ).rowcount
        images.add(shop, image(1000))
    assert (71, 71) == counted(pool, shop)[:2]
