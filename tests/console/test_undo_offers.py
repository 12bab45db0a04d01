"""The offer to undo: where it stays in sight, and what an undo of each kind of change does."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from demo.processes import Engine
from productsearch_engine.limits import RENEWED_MAX
from productsearch_engine.store import signs as store_signs
from productsearch_engine.store.journal import Author, Journal
from productsearch_engine.store.libraries import Libraries
from productsearch_engine.store.undo_errors import ChangedSinceError
from tests.console import many
from tests.console.conftest import Shop
from tests.console.person import Person, change_of, signs_of
from tests.engine.databases import one_postgresql
from tests.engine.image_files import jpeg

ME = Author(name="me", address="")


def offered(person: Person, address: str = "/console/") -> str | None:
    """Return the change that a page offers to undo in its notice."""
    page = person.get(address).text.partition('<div class="notice"')[2].partition("</div>")[0]
    found = re.findall(r'name="change" value="([0-9]+)"', page)
    return found[0] if found else None


def test_an_offer_stays_when_somebody_goes_on(
    engine: Engine, shop: Shop, pool: ConnectionPool[Any]
) -> None:
    """On each page for 30 s, for who made the change alone, and no more once it is undone."""
    sign, other = shop.add(jpeg(1), "old"), shop.add(jpeg(2))
    fields = [("sign", sign), ("brief_do", "set"), ("brief", "new")]
    change = change_of(shop.editor.send("/console/edit/apply", fields))
    owner = Person(engine.url)
    owner.sign_in(*shop.keys)
    owner.session.cookies.set("productsearch_console_change", change, path="/console")
    for address in ("/console/", f"/console/images/{other}", "/console/library", "/console/pins"):
        assert change == offered(shop.editor, address)
        assert offered(shop.looker, address) is None
        assert offered(owner, address) is None
    # Whoever deletes next is offered that.
    deleted = change_of(shop.editor.send("/console/delete", {"sign": other}))
    assert deleted == offered(shop.editor)
    shop.editor.send("/console/undo", {"change": deleted})
    assert offered(shop.editor) is None
    change = change_of(shop.editor.send("/console/delete", {"sign": other}))
    with pool.connection() as connection:
        connection.execute(
            "update changes set changed_at = now() - interval '31 seconds' where id = %s", [change]
        )
    assert offered(shop.editor) is None
    assert f'name="change" value="{change}"' in shop.editor.get("/console/changes").text
    for wrong in ("9" * 18, "9" * 30, "x", "", "-1"):
        shop.editor.session.cookies.set("productsearch_console_change", wrong, path="/console")
        assert 200 == shop.editor.get("/console/").status_code
    owner.close()


@one_postgresql
def test_an_add_is_undone_by_a_delete(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """It is a change of its own: another undo brings the images back, with all that they have."""
    added = shop.editor.send("/console/add", files={"image": ("a.jpg", jpeg(1))}).text
    change = re.findall(r'name="change" value="([0-9]+)"', added)[0]
    with pool.connection() as connection:
        before = many.stored(connection, shop.name)
    undone = shop.editor.send("/console/undo", {"change": change, "back": "/console/"})
    assert [] == signs_of(shop.editor.get("/console/"))
    page = shop.editor.get(undone.headers["location"]).text
    assert "Undone." in page
    delete = offered(shop.editor, undone.headers["location"])
    assert delete is not None
    assert delete == change_of(undone)
    with pool.connection() as connection:
        assert [("add", 1, 1), ("delete", 1, 1)] == many.changes(connection, shop.name)
    again = shop.editor.send("/console/undo", {"change": delete, "back": "/console/"})
    assert "told=undone" in again.headers["location"]
    with pool.connection() as connection:
        assert before == many.stored(connection, shop.name)
        assert 1 == many.counted(connection, shop.name)


def test_a_folder_is_undone_in_batches(
    shop: Shop, pool: ConnectionPool[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was changed since stays, and what is deleted is one change."""
    monkeypatch.setattr("productsearch_engine.store.journal_steps.BATCH", 2)
    change = ""
    for seed in range(5):
        files = {"image": ("a.jpg", jpeg(seed))}
        page = shop.editor.send("/console/add", {"change": change}, files=files).text
        change = re.findall(r'name="change" value="([0-9]+)"', page)[0]
    known = signs_of(shop.editor.get("/console/"))
    shop.caller.call("update", cont_sign=known[2], brief="since")
    library, journal = Libraries(pool).named(shop.name), Journal(pool)
    undone = journal.take_back(library, int(change), ME)
    assert (4, 5) == (undone.restored, undone.wanted)
    assert [known[2]] == signs_of(shop.editor.get("/console/"))
    assert (4, 4) == journal.undo(library, undone.change, ME)
    assert {*known} == {*signs_of(shop.editor.get("/console/"))}


def test_an_entry_that_comes_late(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Between an add and its entry somebody changes the image: the undo of the add spares it."""
    sign = shop.add(jpeg(1), "added")
    shop.caller.call("update", cont_sign=sign, brief="since")
    library, journal = Libraries(pool).named(shop.name), Journal(pool)
    change = journal.note_add(library, store_signs.from_text(sign.encode()) or 0, ME)
    assert change is not None
    with pytest.raises(ChangedSinceError):
        journal.undo(library, change, ME)
    assert [sign] == signs_of(shop.looker.get("/console/"))


def test_more_room_is_taken_back(new_shop: Callable[..., Shop], pool: ConnectionPool[Any]) -> None:
    """Room that is free can be taken back; room that images are in cannot, and that is said."""
    shop = new_shop(1)
    grown = shop.editor.send("/console/library/grow", {"by": "2"})
    assert "Room for 2 further images." in shop.editor.get(grown.headers["location"]).text
    assert 3 == Libraries(pool).named(shop.name).capacity
    change = change_of(grown)
    assert change == offered(shop.editor)
    signs = [shop.add(jpeg(seed)) for seed in range(2)]
    refused = shop.editor.send("/console/undo", {"change": change})
    assert (409, True) == (refused.status_code, "more images than it would have" in refused.text)
    assert 3 == Libraries(pool).named(shop.name).capacity
    shop.editor.send("/console/delete", {"sign": signs[0]})
    assert 303 == shop.editor.send("/console/undo", {"change": change}).status_code
    assert 1 == Libraries(pool).named(shop.name).capacity
    page = shop.editor.get("/console/changes").text
    assert "More room was taken back." in page
    assert 409 == shop.editor.send("/console/undo", {"change": change}).status_code


def test_deletes_of_another_embedding_are_embedded_anew(
    shop: Shop, pool: ConnectionPool[Any]
) -> None:
    """From the copies that the journal keeps: the images come back and are found."""
    signs = [shop.add(jpeg(seed), f"b{seed}") for seed in range(3)]
    chosen = [("sign", sign) for sign in signs]
    change = change_of(shop.editor.send("/console/delete", chosen))
    with pool.connection() as connection:
        # As after a change of embedding: vectors of other dimensions, and one without its copy.
        connection.execute(
            "update changed_images set generation = generation - 1, embedding = '[1,2,3]',"
            " webp = case when brief = 'b2' then null else webp end where change_id = %s",
            [change],
        )
    journal, library = Journal(pool), Libraries(pool).named(shop.name)
    found = journal.find(library, int(change))
    assert found is not None
    assert (True, False) == (found.undoable, found.of_embedding_before)
    undone = shop.editor.send("/console/undo", {"change": change})
    assert "told=undone_part" in undone.headers["location"]
    assert {*signs[:2]} == {*signs_of(shop.editor.get("/console/"))}
    hits = shop.caller.call("search", image=jpeg(1))["result"]
    assert [signs[1]] == [hit["cont_sign"] for hit in hits[:1]]


def outdated(shop: Shop, pool: ConnectionPool[Any], further: int = 0) -> tuple[str, str]:
    """Delete an image, as before a change of embedding; return its sign and the change.

    ``further``: images that the journal has beside it.
    """
    sign = shop.add(jpeg(1))
    change = change_of(shop.editor.send("/console/delete", {"sign": sign}))
    with pool.connection() as connection:
        connection.execute(
            "update changed_images set generation = generation - 1 where change_id = %s", [change]
        )
        connection.execute(
            "insert into changed_images (change_id, library_id, sign, updated_at, brief, digest,"
            " embedding, generation, created_at, webp)"
            " select change_id, library_id, sign # n, updated_at, brief, digest || int4send(n),"
            " embedding, generation, created_at, webp"
            " from changed_images, generate_series(1, %s) n where change_id = %s",
            [further, change],
        )
    return sign, change


def test_too_many_to_embed_anew(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """The page does not try, and says that the command does it."""
    _, change = outdated(shop, pool, RENEWED_MAX)
    refused = shop.editor.send("/console/undo", {"change": change})
    assert (409, True) == (refused.status_code, "productsearch-engine undo" in refused.text)


@pytest.mark.slow
def test_the_command_embeds_anew(shop: Shop, pool: ConnectionPool[Any], engine: Engine) -> None:
    """However many images there are."""
    sign, change = outdated(shop, pool)
    assert "1 of 1 images are as before" in engine.command("undo", shop.name, change)
    assert [sign] == signs_of(shop.editor.get("/console/"))
    (hit,) = shop.caller.call("search", image=jpeg(1))["result"]
    assert sign == hit["cont_sign"]
