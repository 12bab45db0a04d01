"""Emptying a library: asked first, one change of many batches, and undone exactly."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from productsearch_engine.limits import EMPTIED_MAX
from productsearch_engine.store import journal_steps
from productsearch_engine.store.journal import Author, Journal
from productsearch_engine.store.libraries import Libraries
from productsearch_engine.store.undo_errors import OtherEmbeddingError
from tests.console import many
from tests.console.conftest import Shop
from tests.console.person import change_of, signs_of
from tests.engine.databases import one_postgresql
from tests.engine.image_files import jpeg

SOMEBODY = Author(name="somebody", address="")


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of the journal that have few images: a change has several of them all the same."""
    monkeypatch.setattr(journal_steps, "BATCH", 50)


@pytest.mark.parametrize("further", [222, pytest.param(2222, marks=pytest.mark.slow)])
@one_postgresql
def test_emptying_and_undo(
    shop: Shop, shared_shop: Shop, pool: ConnectionPool[Any], further: int
) -> None:
    """All images go in one change, of this library alone; one undo gives each column back."""
    shop.add(jpeg(1))
    beside = shared_shop.add(jpeg(2222))
    with pool.connection() as connection:
        # The larger number is more than two batches.
        many.multiply(connection, shop.name, further)
        before = many.stored(connection, shop.name)
    count = further + 1
    assert f"Delete {count:,} images" in shop.editor.get("/console/library").text
    emptied = shop.editor.send("/console/library/empty", {"name": f" {shop.name} "})
    assert f"{count:,} images deleted." in shop.editor.get(emptied.headers["location"]).text
    with pool.connection() as connection:
        assert {} == many.stored(connection, shop.name)
        assert 0 == many.counted(connection, shop.name)
        assert ("delete", count, count) == many.changes(connection, shop.name)[-1]
    assert beside in signs_of(shared_shop.editor.get("/console/"))
    assert [] == shop.caller.call("search", image=jpeg(1))["result"]
    undone = shop.editor.send("/console/undo", {"change": change_of(emptied)})
    assert "told=undone" in undone.headers["location"]
    with pool.connection() as connection:
        assert before == many.stored(connection, shop.name)
        assert count == many.counted(connection, shop.name)


def test_emptying_asks(shop: Shop) -> None:
    """Without the library's name nothing is deleted, nor by who may only look."""
    sign = shop.add(jpeg(1))
    for name in ("", "yes", shop.name.upper(), shop.name + "x"):
        refused = shop.editor.send("/console/library/empty", {"name": name})
        assert 400 == refused.status_code
        assert "write the library&#39;s name" in refused.text
    assert 403 == shop.looker.send("/console/library/empty", {"name": shop.name}).status_code
    assert "/console/library/empty" not in shop.looker.get("/console/library").text
    assert [sign] == signs_of(shop.editor.get("/console/"))
    shop.editor.send("/console/library/empty", {"name": shop.name})
    assert "/console/library/empty" not in shop.editor.get("/console/library").text
    again = shop.editor.send("/console/library/empty", {"name": shop.name})
    assert "/console/" == again.headers["location"]


@pytest.mark.usefixtures("small_batches")
@one_postgresql
def test_emptying_is_bounded(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """At most so many images at once; what came meanwhile is spared by the undo."""
    shop.add(jpeg(1), "first")
    with pool.connection() as connection:
        many.multiply(connection, shop.name, 150)
        before = many.stored(connection, shop.name)
    changes, library = Journal(pool), Libraries(pool).named(shop.name)
    change, deleted = changes.empty(library, SOMEBODY, 120)
    assert (120, 31) == (deleted, _count(pool, shop))
    assert change is not None
    rest, deleted = changes.empty(library, SOMEBODY, EMPTIED_MAX)
    assert (31, 0) == (deleted, _count(pool, shop))
    assert rest is not None
    assert (None, 0) == changes.empty(library, SOMEBODY, EMPTIED_MAX)
    again = shop.add(jpeg(1), "again")
    restored = [changes.undo(library, each, SOMEBODY) for each in (change, rest)]
    assert 150 == sum(done for done, _ in restored)
    with pool.connection() as connection:
        after = many.stored(connection, shop.name)
        assert 151 == many.counted(connection, shop.name)
    assert b"again" == after.pop(again)[1]
    before.pop(again)
    assert before == after


@pytest.mark.usefixtures("small_batches")
@one_postgresql
def test_a_batch_that_fails_undoes_all(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Nothing is half done if the database refuses in the middle, and nothing is in the journal."""
    shop.add(jpeg(1))
    with pool.connection() as connection:
        many.multiply(connection, shop.name, 150)
        before, known = many.stored(connection, shop.name), many.changes(connection, shop.name)
        name = f"images_{Libraries(pool).named(shop.name).id}"
        last = connection.execute(f"select max(sign) from {name}".encode()).fetchone()
        assert last
        connection.execute(
            "create function refuse() returns trigger language plpgsql as"
            " $$begin raise exception 'no'; end$$"
        )
        connection.execute(
            f"create trigger refuse before delete on {name} for each row"
            f" when (old.sign = {last[0]}) execute function refuse()".encode()
        )
    changes, library = Journal(pool), Libraries(pool).named(shop.name)
    with pytest.raises(psycopg.errors.RaiseException):
        changes.empty(library, SOMEBODY, EMPTIED_MAX)
    with pool.connection() as connection:
        assert before == many.stored(connection, shop.name)
        assert known == many.changes(connection, shop.name)
        connection.execute("drop function refuse cascade")
    change, _ = changes.empty(library, SOMEBODY, EMPTIED_MAX)
    assert change is not None
    with pool.connection() as connection:
        connection.execute(
            "update changed_images set generation = -1 where change_id = %s", [change]
        )
    with pytest.raises(OtherEmbeddingError):
        changes.undo(library, change, SOMEBODY)


def _count(pool: ConnectionPool[Any], shop: Shop) -> int:
    with pool.connection() as connection:
        return many.counted(connection, shop.name)
