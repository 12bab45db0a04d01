"""Deleted images that searches still find for a while, in libraries that imitate the vendor so."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from demo.processes import Engine
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.delete_lag import DeleteLag
from productsearch_engine.store.images import DuplicateError, Hit, Images
from productsearch_engine.store.journal import Author, Journal
from productsearch_engine.store.libraries import Libraries, Library
from productsearch_engine.store.library_settings import LibrarySettings
from productsearch_engine.store.statements import ClassFilter
from tests.engine.calling import Caller, code_of, signs_of
from tests.engine.commands import ran
from tests.engine.databases import one_postgresql
from tests.engine.image_files import jpeg
from tests.engine.test_libraries import listed
from tests.engine.test_store import EVERY, image, library, vector

pytestmark = one_postgresql

Pool = ConnectionPool[Any]
ME = Author(name="me", address="here")
STORED, DELETED = range(40), range(0, 40, 3)


def _signs(hits: list[Hit]) -> list[int]:
    return [hit.sign for hit in hits]


def _lagging(pool: Pool, name: str) -> tuple[Library, list[int], DeleteLag]:
    """Return a library, the ranking of its images for ``vector(5)``, and a search of it."""
    library(pool, name)
    LibrarySettings(pool).lag_deletes(name, 3600)
    shop, images = Libraries(pool).named(name), Images(pool)
    for seed in STORED:
        images.add(shop, image(seed))
    ranking = _signs(images.search(shop, vector(5), EVERY, 0, 100)[0])
    assert len(STORED) == len(ranking)
    return shop, ranking, DeleteLag(pool, images)


def _delete(pool: Pool, shop: Library) -> list[int]:
    images = Images(pool)
    known = [images.find(shop, image(seed).digest) for seed in DELETED]
    signs = [each.sign for each in known if each]
    assert len(signs) == images.delete(shop, signs)
    return signs


def test_searches_are_as_before_the_delete(pool: Pool) -> None:
    """Ranks, pages and filters: while the lag lasts only other things know of the delete."""
    shop, ranking, lag = _lagging(pool, "as-before")
    filters = [
        ClassFilter(class_id1=first, class_id2=None, any_class=False) for first in (1, 4, 5, 99)
    ]
    before = [lag.search(shop, vector(7), each, 0, 50) for each in filters]
    signs = _delete(pool, shop)
    assert before == [lag.search(shop, vector(7), each, 0, 50) for each in filters]
    for size in (1, 7, 39, 40, 41):
        pages = [lag.search(shop, vector(5), EVERY, at, size) for at in range(0, 40, size)]
        assert ranking == [sign for hits, _ in pages for sign in _signs(hits)]
        assert [True] * (len(pages) - 1) + [False] == [more for _, more in pages]
    alone, _ = Images(pool).search(shop, vector(5), EVERY, 0, 100)
    assert [sign for sign in ranking if sign not in signs] == _signs(alone)
    assert len(STORED) - len(signs) == Libraries(pool).named("as-before").image_count


def test_an_image_that_is_added_again_is_found_once(pool: Pool) -> None:
    """However often it was deleted; with the brief that it has now."""
    shop, ranking, lag = _lagging(pool, "again")
    for _ in range(2):
        _delete(pool, shop)
        for seed in DELETED:
            Images(pool).add(shop, image(seed))
    assert ranking == _signs(lag.search(shop, vector(5), EVERY, 0, 100)[0])
    _delete(pool, shop)
    assert ranking == _signs(lag.search(shop, vector(5), EVERY, 0, 100)[0])


def test_an_image_that_is_added_again_meanwhile_is_found_once(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at what was deleted and the search of what is stored."""
    shop, ranking, lag = _lagging(pool, "meanwhile")
    _delete(pool, shop)
    search = Images.search

    def after_an_add(images: Images, *asked: Any) -> Any:
        for seed in DELETED:
            with suppress(DuplicateError):
                images.add(shop, image(seed))
        return search(images, *asked)

    monkeypatch.setattr(Images, "search", after_an_add)
    assert ranking == _signs(lag.search(shop, vector(5), EVERY, 0, 100)[0])


@pytest.mark.parametrize("ends", ["time", "off", "purge", "empty", "generation"])
def test_the_lag_ends(pool: Pool, ends: str) -> None:
    """After its time, when it is switched off, and at once for what is erased for good."""
    shop, ranking, lag = _lagging(pool, f"ends-{ends}")
    signs = _delete(pool, shop)
    left = [sign for sign in ranking if sign not in signs]
    with pool.connection() as connection:
        if ends == "time":
            connection.execute("update deleted_images set found_until = now()")
        elif ends == "off":
            LibrarySettings(pool).lag_deletes(shop.name, 0)
        elif ends == "purge":
            left = [sign for sign in ranking if sign not in signs and sign != ranking[0]]
            Journal(pool).purge(shop, [*signs, ranking[0]])
        elif ends == "empty":
            BulkRows(pool).empty(shop)
            left = []
        else:
            connection.execute("update deleted_images set generation = generation + 1")
    assert left == _signs(lag.search(shop, vector(5), EVERY, 0, 100)[0])


def test_what_is_over_is_deleted(pool: Pool) -> None:
    """Deletes clear away what earlier ones left behind: the table does not grow for ever."""
    shop, _, _ = _lagging(pool, "over")
    _delete(pool, shop)
    with pool.connection() as connection:
        connection.execute("update deleted_images set found_until = now()")
        known = Images(pool).find(shop, image(1).digest)
        assert known
        Images(pool).delete(shop, [known.sign])
        Images(pool).add(shop, image(1))
        Images(pool).delete(shop, [known.sign])
        row = connection.execute(
            "select count(*) from deleted_images where library_id = %s", [shop.id]
        ).fetchone()
    assert (2,) == row


def test_calls_see_the_lag_and_nothing_else(engine: Engine, caller: Caller) -> None:
    """As a caller of the vendor sees it: found, not to be changed, to be added again at once."""
    name = listed(engine, caller)["name"]
    assert 0 == listed(engine, caller)["delete_lag_s"]
    assert "for 14400 s more" in ran(engine, "library", "delete-lag", name, "14400")
    assert 14400 == listed(engine, caller)["delete_lag_s"]
    sign = caller.call("add", image=jpeg(1), brief="one")["cont_sign"]
    caller.call("delete", cont_sign=sign)
    assert [sign] == signs_of(caller.call("search", image=jpeg(1)))
    assert 1 == caller.call("search", image=jpeg(1))["result"][0]["score"]
    assert 216680 == code_of(caller.call("delete", cont_sign=sign))
    assert 216680 == code_of(caller.call("update", cont_sign=sign, brief="two"))
    assert sign == caller.call("add", image=jpeg(1), brief="three")["cont_sign"]
    assert ["three"] == [hit["brief"] for hit in caller.call("search", image=jpeg(1))["result"]]
    caller.call("delete", cont_sign=sign)
    assert "at once" in ran(engine, "library", "delete-lag", name, "off")
    assert [] == signs_of(caller.call("search", image=jpeg(1)))
