"""Edits and deletes: undone exactly, alone and by hundreds, and never over somebody else's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from demo.processes import Engine, ServerError
from productsearch_engine.store import signs
from productsearch_engine.store.journal import Journal
from productsearch_engine.store.libraries import Libraries
from tests.console.conftest import Shop
from tests.console.person import Person, change_of, signs_of
from tests.engine.image_files import jpeg

VERSION = re.compile(r'name="version" value="([0-9]+)"')


def rows(pool: ConnectionPool[Any], shop: Shop) -> list[tuple[Any, ...]]:
    """Return all that is stored of a library's images, but for the time of the last change."""
    library = Libraries(pool).named(shop.name)
    with pool.connection() as connection:
        copies = connection.execute(
            "select sign, webp from kept_images where library_id = %s", [library.id]
        ).fetchall()
        images = connection.execute(
            "select sign, digest, brief, class_id1, class_id2, embedding::text, created_at"
            " from images where library_id = %s order by sign",
            [library.id],
        ).fetchall()
    return [(*image, dict(copies).get(image[0])) for image in images]


def test_delete_and_undo(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """An undo brings the same sign, brief, classes, vector, copy and place back."""
    first = shop.add(jpeg(1), '{"sku": "1"}', class_id1="7")
    shop.add(jpeg(2), "other", class_id2="9")
    before = rows(pool, shop)
    answer = shop.editor.send("/console/delete", {"sign": first})
    assert 1 == len(rows(pool, shop))
    assert 1 == len(shop.caller.call("search", image=jpeg(1))["result"])
    told = shop.editor.get(answer.headers["location"]).text
    assert "1 image deleted." in told
    assert "/console/undo" in told
    undone = shop.editor.send("/console/undo", {"change": change_of(answer)})
    assert "told=undone" in undone.headers["location"]
    assert before == rows(pool, shop)
    assert first == shop.caller.call("search", image=jpeg(1))["result"][0]["cont_sign"]
    assert 409 == shop.editor.send("/console/undo", {"change": change_of(answer)}).status_code


def test_a_change_of_one_image_leads_to_it(shop: Shop) -> None:
    """As long as it is there; one of several leads nowhere."""
    known = [shop.add(jpeg(n), f"b{n}") for n in range(2)]
    link = f'<a href="/console/images/{known[0]}">'
    brief = [("brief_do", "set"), ("brief", "one brief")]
    shop.editor.send("/console/edit/apply", [("sign", known[0]), *brief])
    assert link in shop.editor.get("/console/changes").text
    brief = [("brief_do", "set"), ("brief", "another brief")]
    shop.editor.send("/console/edit/apply", [*(("sign", each) for each in known), *brief])
    shop.editor.send("/console/delete", {"sign": known[1]})
    assert 1 == shop.editor.get("/console/changes").text.count('<a href="/console/images/')


def test_bulk_edit_and_delete(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Many images change together, and one undo each takes both changes back."""
    known = [shop.add(jpeg(n), f"b{n}", class_id1=str(1 + n % 2)) for n in range(6)]
    before, chosen = rows(pool, shop), [("sign", each) for each in known]
    page = shop.editor.send("/console/edit", chosen).text
    assert "Edit 6 images" in page
    assert "6 different briefs" in page
    fields = [("class_id1_do", "remove"), ("class_id2_do", "set"), ("class_id2", "5")]
    edited = shop.editor.send("/console/edit/apply", [*chosen, *fields])
    assert {(None, 5)} == {(row[3], row[4]) for row in rows(pool, shop)}
    assert [row[2] for row in before] == [row[2] for row in rows(pool, shop)]
    deleted = shop.editor.send("/console/delete", chosen)
    assert [] == rows(pool, shop)
    assert "0 of 500,000" in shop.editor.get("/console/").text
    for answer in (deleted, edited):
        assert 303 == shop.editor.send("/console/undo", {"change": change_of(answer)}).status_code
    assert before == rows(pool, shop)
    assert "6 of 500,000" in shop.editor.get("/console/").text
    listed = shop.editor.get("/console/changes").text
    assert 2 == listed.count("A change of 6 images was undone.")


def test_a_queue_of_adds_is_one_change(
    engine: Engine, shop: Shop, pool: ConnectionPool[Any]
) -> None:
    """Files that are sent one after the other are one entry and one undo, of one person."""
    number = re.compile(r'name="change" value="([0-9]+)"')

    def add(person: Person, seed: int, change: str) -> str:
        files = {"image": ("a.jpg", jpeg(seed))}
        page = person.send("/console/add", {"brief": "b", "change": change}, files=files).text
        assert "Added." in page
        return number.findall(page)[0]

    change = add(shop.editor, 1, "")
    assert {change} == {add(shop.editor, seed, change) for seed in (2, 3)}
    owner = Person(engine.url)
    owner.sign_in(*shop.keys)
    # Somebody else's, one that is none, and one of another kind are not joined.
    edit = change_of(
        shop.editor.send(
            "/console/edit/apply",
            [
                ("sign", signs_of(shop.editor.get("/console/"))[0]),
                ("brief_do", "set"),
                ("brief", "new"),
            ],
        )
    )
    others = [add(owner, 4, change), add(shop.editor, 5, "9" * 18), add(shop.editor, 6, edit)]
    assert 4 == len({change, *others})
    # The notice above tells of the last one, too.
    page = shop.editor.get("/console/changes").text.partition("<table")[2]
    assert "3 images added." in page
    assert 3 == page.count("1 image added.")
    shop.editor.send("/console/undo", {"change": edit})
    undone = shop.editor.send("/console/undo", {"change": change, "back": "/console/add"})
    assert "Undone." in shop.editor.get(undone.headers["location"]).text
    assert 3 == len(rows(pool, shop))
    assert change != add(shop.editor, 1, change)


def test_two_editors(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Who saves later is told, sees both, and may replace the other's on purpose."""
    sign = shop.add(jpeg(1), "first", class_id1="1")
    address = f"/console/images/{sign}"
    versions = [VERSION.findall(shop.editor.get(address).text)[0] for _ in range(2)]
    theirs = {"brief": "theirs", "class_id1": "2", "version": versions[0]}
    assert 303 == shop.editor.send(address, theirs).status_code
    late = shop.editor.send(address, {"brief": "mine", "class_id1": "3", "version": versions[1]})
    assert 409 == late.status_code
    assert "theirs" in late.text
    assert "mine" in late.text
    assert [b"theirs"] == [row[2] for row in rows(pool, shop)]
    again = {"brief": "mine", "class_id1": "3", "version": VERSION.findall(late.text)[0]}
    assert 303 == shop.editor.send(address, again).status_code
    assert [(b"mine", 3, None)] == [(row[2], *row[3:5]) for row in rows(pool, shop)]


def test_an_undo_spares_what_came_later(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """What a call changed or added since stays; what nobody touched comes back."""
    known = [shop.add(jpeg(n), "old") for n in range(3)]
    chosen = [("sign", each) for each in known]
    edit = shop.editor.send("/console/edit/apply", [*chosen, ("brief_do", "set"), ("brief", "new")])
    shop.caller.call("update", cont_sign=known[0], brief="a call's")
    undone = shop.editor.send("/console/undo", {"change": change_of(edit)})
    assert "told=undone_part" in undone.headers["location"]
    assert [b"a call's", b"old", b"old"] == sorted(row[2] for row in rows(pool, shop))
    deleted = shop.editor.send("/console/delete", chosen)
    shop.add(jpeg(0), "again")
    shop.editor.send("/console/undo", {"change": change_of(deleted)})
    assert [b"again", b"old", b"old"] == sorted(row[2] for row in rows(pool, shop))
    assert "3 of 500,000" in shop.editor.get("/console/").text


def test_an_undo_without_room(new_shop: Callable[..., Shop], pool: ConnectionPool[Any]) -> None:
    """A delete frees its room at once; an undo that finds it taken says so and does nothing."""
    shop = new_shop(1)
    sign = shop.add(jpeg(1))
    deleted = shop.editor.send("/console/delete", {"sign": sign})
    other = shop.add(jpeg(2))
    refused = shop.editor.send("/console/undo", {"change": change_of(deleted)})
    assert 409 == refused.status_code
    assert "The library is full" in refused.text
    assert [other] == signs_of(shop.editor.get("/console/"))
    shop.editor.send("/console/delete", {"sign": other})
    assert 303 == shop.editor.send("/console/undo", {"change": change_of(deleted)}).status_code
    assert [sign] == signs_of(shop.editor.get("/console/"))


def test_values_are_checked(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Briefs and class ids out of bounds are refused with the rule, and what was typed stays."""
    sign = shop.add(jpeg(1), "kept")
    address = f"/console/images/{sign}"
    version = VERSION.findall(shop.editor.get(address).text)[0]
    for fields, rule in (
        ({"brief": "字" * 86}, "longer than 256 bytes"),
        ({"brief": "x", "class_id1": "0"}, "from 1 to 65535"),
        ({"brief": "x", "class_id2": "65536"}, "from 1 to 65535"),
        ({"brief": "x", "class_id1": "٣"}, "from 1 to 65535"),
    ):
        answer = shop.editor.send(address, fields | {"version": version})
        assert 400 == answer.status_code
        assert rule in answer.text
        assert fields["brief"] in answer.text
    assert [b"kept"] == [row[2] for row in rows(pool, shop)]


def test_broken_json_is_told(shop: Shop) -> None:
    """A brief that begins like JSON and is none is stored as it is, and the page says so."""
    warning = re.compile(r"<small [^>]*data-json[^>]*>")
    sign = shop.add(jpeg(1), "text")
    for brief, broken in (
        ('{"sku": "1"}', False),
        ('{"sku": "1"', True),
        ("[1, 2,]", True),
        ("a {b", False),
        ("[" * 250, True),
    ):
        version = VERSION.findall(shop.editor.get(f"/console/images/{sign}").text)[0]
        edited = {"brief": brief, "version": version}
        saved = shop.editor.send(f"/console/images/{sign}", edited)
        (found,) = warning.findall(shop.editor.get(saved.headers["location"]).text)
        assert broken == ("hidden" not in found), brief


@pytest.mark.slow
def test_undo_by_command(engine: Engine, shop: Shop, pool: ConnectionPool[Any]) -> None:
    """The command lists what can be undone, and undoes a change by its number, once."""
    sign = shop.add(jpeg(1), "kept")
    before = rows(pool, shop)
    change = change_of(shop.editor.send("/console/delete", {"sign": sign}))
    (line,) = engine.command("undo", shop.name).splitlines()[1:]
    assert [change, "delete", "1"] == [line.split()[each] for each in (0, 3, 4)]
    assert "1 of 1 images are as before" in engine.command("undo", shop.name, change)
    assert before == rows(pool, shop)
    assert 1 == len(engine.command("undo", shop.name).splitlines())
    with pytest.raises(ServerError, match="no such change"):
        engine.command("undo", shop.name, change)
    assert "a command" in shop.looker.get("/console/changes").text


def test_purge(engine: Engine, shop: Shop, pool: ConnectionPool[Any]) -> None:
    """A purged image is in no table, and no undo brings it back."""
    sign = shop.add(jpeg(1), "forget me")
    shop.editor.send("/console/search", files={"image": ("a", jpeg(1))})
    deleted = shop.editor.send("/console/delete", {"sign": sign})
    assert "1 of 1 images erased" in engine.command("purge", shop.name, sign)
    with pytest.raises(ServerError, match="1 cont_sign of no image here"):
        engine.command("purge", shop.name, sign)
    undo = shop.editor.send("/console/undo", {"change": change_of(deleted)})
    assert (410, True) == (undo.status_code, "erased for good" in undo.text)
    with pool.connection() as connection:
        for table in ("images", "kept_images", "changed_images", "query_images"):
            count = connection.execute(
                f"select count(*) from {table} where library_id ="
                " (select id from libraries where name = %s)",
                [shop.name],
            ).fetchone()
            assert (0,) == count, table


def test_what_was_purged_is_not_offered(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Changes of purged images say so and offer no undo; a part that is left can be undone."""
    library, journal = Libraries(pool).named(shop.name), Journal(pool)
    files = {"image": ("a.jpg", jpeg(1))}
    page = shop.editor.send("/console/add", {"brief": "b"}, files=files).text
    added = re.findall(r'name="change" value="([0-9]+)"', page)[0]
    chosen = [("sign", signs_of(shop.editor.get("/console/"))[0]), ("sign", shop.add(jpeg(2)))]
    numbers = [signs.from_text(sign.encode()) or 0 for _, sign in chosen]
    edit = [*chosen, ("class_id1_do", "set"), ("class_id1", "5")]
    edited = change_of(shop.editor.send("/console/edit/apply", edit))
    deleted = change_of(shop.editor.send("/console/delete", chosen))
    journal.purge(library, numbers[:1])
    assert "erased for good" not in shop.editor.get(f"/console/?done={deleted}").text.lower()
    undone = shop.editor.send("/console/undo", {"change": deleted})
    assert "told=undone_part" in undone.headers["location"]
    deleted = change_of(shop.editor.send("/console/delete", chosen))
    journal.purge(library, numbers)
    for change in (added, edited, deleted):
        page = shop.editor.get(f"/console/?done={change}").text
        assert (True, False) == ("Erased for good since" in page, "/console/undo" in page), change
        answer = shop.editor.send("/console/undo", {"change": change})
        assert (410, True) == (answer.status_code, "erased for good" in answer.text), change
    assert "/console/undo" not in shop.editor.get("/console/changes").text
    assert "No change matches" in shop.editor.get("/console/changes?undoable=1").text
    assert [] == list(journal.undoable(library))
