"""What is erased or forgotten is nowhere any more; what comes again is told rightly."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from productsearch_engine.store import signs
from productsearch_engine.store.journal import Author, Chosen, Journal
from productsearch_engine.store.libraries import Libraries
from productsearch_engine.store.undo_errors import OtherEmbeddingError
from tests.console import many
from tests.console.conftest import Shop
from tests.console.person import change_of
from tests.engine.databases import one_postgresql
from tests.engine.image_files import jpeg

ME = Author(name="me", address="")


def number_of(cont_sign: str) -> int:
    """Return the sign of a ``cont_sign``."""
    number = signs.from_text(cont_sign.encode())
    assert number is not None
    return number


def test_a_purge_knows_searches_with_what_is_gone(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """An image that a call has deleted before is erased from kept searches and pins, too."""
    gone, other = shop.add(jpeg(1)), shop.add(jpeg(2))
    found = {
        seed: shop.editor.send("/console/search", files={"image": ("a", jpeg(seed))})
        for seed in (1, 2)
    }
    whole = found[1].headers["location"]
    key = whole.partition("query=")[2]
    sides = {"left": "10", "top": "10", "width": "50", "height": "50"}
    part = shop.editor.send("/console/search/part", {"query": key, **sides}).headers["location"]
    shop.editor.send("/console/pins", {"query": key, "hit": other})
    shop.caller.call("delete", cont_sign=gone)
    assert [200, 200] == [shop.editor.get(each).status_code for each in (whole, part)]
    library, journal = Libraries(pool).named(shop.name), Journal(pool)
    assert 0 == journal.purge(library, [number_of(gone)])
    assert [404, 404] == [shop.editor.get(each).status_code for each in (whole, part)]
    assert 404 == shop.editor.get(f"/console/queries/{key}.webp").status_code
    assert 200 == shop.editor.get(found[2].headers["location"]).status_code
    assert "No search is pinned yet" in shop.editor.get("/console/pins").text
    assert 200 == shop.editor.get(f"/console/images/{other}").status_code


@one_postgresql
def test_a_purge_leaves_no_row(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Of an image that was added, edited, merged, searched with, deleted and brought back."""
    image = jpeg(70_001)  # of no other library: all rows of the database are looked at
    sign, other = shop.add(image), shop.add(jpeg(6), "brief")
    shop.editor.send("/console/edit/apply", [("sign", sign), ("brief_do", "set"), ("brief", "b")])
    pair = {"keep": other, "drop": sign}
    merged = shop.editor.send("/console/doubles", pair)
    shop.editor.send("/console/undo", {"change": change_of(merged)})
    shop.editor.send("/console/search", files={"image": ("a", image)})
    shop.editor.send("/console/pins", {"like": sign, "hit": other})
    shop.editor.send("/console/delete", {"sign": sign})
    library = Libraries(pool).named(shop.name)
    assert 1 == Journal(pool).purge(library, [number_of(sign)])
    digest = hashlib.sha256(image).digest()
    with pool.connection() as connection:
        columns = connection.execute(
            "select table_name, column_name, data_type from information_schema.columns"
            " where table_schema = 'public' and data_type in ('bigint', 'bytea')"
        ).fetchall()
        for table, column, kind in columns:
            value = digest if kind == "bytea" else number_of(sign)
            left = connection.execute(
                f'select count(*) from "{table}" where "{column}" = %s', [value]
            ).fetchone()
            assert (table, column, (0,)) == (table, column, left)
        assert 1 == many.counted(connection, shop.name)


def test_browsers_ask_whether_they_may_still_show_it(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """A thumbnail that a browser has is asked for again, and is gone with its image."""
    sign = shop.add(jpeg(1))
    for kind in ("thumbnails", "copies"):
        address = f"/console/{kind}/{sign}.webp"
        first = shop.looker.get(address)
        assert "private, no-cache" == first.headers["cache-control"]
        known = {"If-None-Match": first.headers["etag"]}
        again = shop.looker.get(address, headers=known)
        assert (304, b"") == (again.status_code, again.content)
    Journal(pool).purge(Libraries(pool).named(shop.name), [number_of(sign)])
    assert 303 == shop.looker.get(address, headers=known).status_code


def test_what_can_be_undone_no_more_is_forgotten(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Deleted images are kept for a day, also where nobody changes anything any more."""
    kept, old = (shop.add(jpeg(seed)) for seed in (1, 2))
    changes = [
        int(change_of(shop.editor.send("/console/delete", {"sign": sign}))) for sign in (kept, old)
    ]
    with pool.connection() as connection:
        connection.execute(
            "update changes set changed_at = now() - interval '25 hours' where id = %s", changes[1:]
        )
    Journal(pool).forget_old()
    with pool.connection() as connection:
        left = connection.execute(
            "select change_id from changed_images where change_id = any(%s)", [changes]
        ).fetchall()
    assert [(changes[0],)] == left


def test_an_image_that_one_queue_adds_twice(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Deleted in between by somebody else, it is added again, told so, and counted once."""
    added = shop.editor.send("/console/add", files={"image": ("a.jpg", jpeg(1))})
    change = added.text.partition('name="change" value="')[2].partition('"')[0]
    library, journal = Libraries(pool).named(shop.name), Journal(pool)
    (image,) = shop.caller.call("search", image=jpeg(1))["result"]
    shop.caller.call("delete", cont_sign=image["cont_sign"])
    again = shop.editor.send(
        "/console/add", {"change": change}, files={"image": ("b.jpg", jpeg(1))}
    )
    assert (200, True) == (again.status_code, "Added." in again.text)
    noted = journal.find(library, int(change))
    assert noted is not None
    assert 1 == noted.image_count
    assert (1, 1) == journal.undo(library, int(change), ME)
    assert [] == shop.caller.call("search", image=jpeg(1)).get("result", [])


def test_deletes_of_the_embedding_before(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Without a copy they are not offered to be undone, and whoever asks is told why not."""
    sign = shop.add(jpeg(1))
    done = int(change_of(shop.editor.send("/console/delete", {"sign": sign})))
    journal, library = Journal(pool), Libraries(pool).named(shop.name)

    def switch(by: int) -> None:
        with pool.connection() as connection:
            connection.execute(
                "update changed_images set generation = generation + %s, webp = null"
                " where change_id = %s",
                [by, done],
            )

    assert journal.last(library, 1, Chosen())[0].undoable
    switch(-1)
    (change,) = journal.last(library, 1, Chosen())
    assert (False, True) == (change.undoable, change.of_embedding_before)
    assert [] == journal.last(library, 1, Chosen(undoable=True))
    assert "of the embedding before" in shop.editor.get("/console/changes").text
    with pytest.raises(OtherEmbeddingError):
        journal.undo(library, done, ME)
    refused = shop.editor.send("/console/undo", {"change": str(done)})
    assert (409, True) == (refused.status_code, "another embedding" in refused.text)
    switch(1)
    assert (1, 1) == journal.undo(library, done, ME)
