"""Each change of a day is found, however many came after it: by pages, by filters, by command."""

from __future__ import annotations

import html
import re
from typing import Any

from psycopg_pool import ConnectionPool

from productsearch_engine.limits import CHANGES_KEPT, CHANGES_PAGE
from productsearch_engine.store import signs as store_signs
from productsearch_engine.store.journal import Journal
from productsearch_engine.store.libraries import Libraries
from tests.console import many
from tests.console.conftest import Shop
from tests.console.person import Person, change_of, link
from tests.engine.databases import one_postgresql
from tests.engine.image_files import jpeg

NUMBER = re.compile(r'name="change" value="([0-9]+)"')
LATER = CHANGES_KEPT + CHANGES_PAGE // 2


def after_a_delete(shop: Shop, pool: ConnectionPool[Any]) -> str:
    """Delete an image, write many later changes down, and return the delete's number."""
    sign = shop.add(jpeg(1), "kept")
    number = change_of(shop.editor.send("/console/delete", {"sign": sign}))
    with pool.connection() as connection:
        connection.execute(
            "with made as ("
            " insert into changes (library_id, kind, image_count, who, address)"
            " select id, 'add', 1, 'lin & <co>', '' from libraries, generate_series(1, %s)"
            " where name = %s returning id, library_id)"
            " insert into changed_images (change_id, library_id, sign, updated_at)"
            " select id, library_id, 1, now() from made",
            [LATER, shop.name],
        )
    return number


def pages(person: Person, address: str) -> list[list[str]]:
    """Return the numbers of the changes that can be undone, page by page, the newest first."""
    found = []
    while True:
        page = person.get(address)
        assert 200 == page.status_code
        # The first one is that of the notice, if there is any.
        found.append(NUMBER.findall(page.text.partition("<table")[2]))
        query = link(page, "next")
        if query is None:
            return found
        address = query


def test_a_change_before_a_thousand(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Pages lead to each change once, filters to it at once, and the command knows it."""
    number = after_a_delete(shop, pool)
    found = pages(shop.editor, "/console/changes")
    numbers = [each for page in found for each in page]
    assert LATER + 1 == len(numbers) == len({*numbers})
    assert sorted(map(int, numbers), reverse=True) == [int(each) for each in numbers]
    assert number == numbers[-1]
    assert CHANGES_PAGE == max(len(page) for page in found)
    name = f"edit-{shop.name.removeprefix('shop-')}"
    for query in ("kind=delete", f"who={name}", f"kind=delete&who={name}&undoable=1"):
        assert [[number]] == pages(shop.editor, f"/console/changes?{query}")
    others = pages(shop.editor, "/console/changes?who=lin+%26+%3Cco%3E&undoable=1")
    assert LATER == sum(map(len, others))
    with pool.connection():
        library = Libraries(pool).named(shop.name)
    assert numbers == [str(each.id) for each in Journal(pool).undoable(library)]
    undone = shop.editor.send("/console/undo", {"change": number, "back": "/console/changes"})
    assert 303 == undone.status_code
    assert number not in [str(each.id) for each in Journal(pool).undoable(library)]
    assert [[]] == pages(shop.editor, "/console/changes?undoable=1&kind=delete")
    assert "undone" in shop.editor.get("/console/changes?kind=delete").text


def test_an_undo_leads_back(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Whoever undoes something on a later page stays there."""
    after_a_delete(shop, pool)
    second = link(shop.editor.get("/console/changes?undoable=1"), "next")
    assert second is not None
    page = shop.editor.get(second).text.partition("<table")[2]
    back = html.unescape(re.findall(r'name="back" value="([^"]*)"', page)[0])
    address, _, place = back.partition("#")
    assert second == address
    assert f'<tr id="{place}">' in page


def test_an_address_that_is_none(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Values that nobody is or does lead to no change, or are left out; none is a fault."""
    number = after_a_delete(shop, pool)
    for query, count in (
        ("kind=nothing&undoable=x&before=", CHANGES_PAGE),
        ("before=" + "9" * 40, CHANGES_PAGE),
        ("before=٣", CHANGES_PAGE),
        (f"before={number}", 0),
        ("who=nobody", 0),
        ("who=%00&kind=%00", CHANGES_PAGE),
        ("who=" + "x" * 3000, 0),
    ):
        page = shop.looker.get(f"/console/changes?{query}")
        assert 200 == page.status_code
        assert count == page.text.count("image added."), query
        assert (count == 0) == ("No change matches" in page.text)


def told_in_short(page: str) -> list[str]:
    """Return what the list tells of each change, without tags."""
    found = re.findall(r'<a class="told"[^>]*>(.*?)</a>', page, re.DOTALL)
    return [" ".join(re.sub("<[^>]*>", " ", each).split()) for each in found]


def test_a_change_is_told_from_and_to(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """In the list in short, on its own page in whole, and gone with what is purged."""
    long = "a long brief of many words " * 5
    first = shop.add(jpeg(1), '{"colour": "red", "sku": "1"}', class_id1="3")
    second = shop.add(jpeg(2), long)
    signs = [("sign", first), ("sign", second)]
    for sign, brief, number in (
        (first, '{"colour": "crimson", "sku": "1"}', "7"),
        (second, "short", ""),
    ):
        version = re.search(
            r'name="version" value="(\d+)"', shop.editor.get(f"/console/images/{sign}").text
        )
        assert version
        fields = {"brief": brief, "class_id1": number, "class_id2": "", "version": version[1]}
        assert 303 == shop.editor.send(f"/console/images/{sign}", fields).status_code
    bulk = [("brief_do", "keep"), ("class_id2_do", "set"), ("class_id2", "9")]
    edited = change_of(shop.editor.send("/console/edit/apply", [*signs, *bulk]))
    deleted = change_of(shop.editor.send("/console/delete", {"sign": second}))
    told = told_in_short(shop.looker.get("/console/changes").text)
    whole = "The whole change"
    assert f"Class id 2 9 → none Brief short → none {whole}" == told[0]
    assert f"Class id 2 none → 9 {whole}" == told[1]
    assert told[2].startswith("Brief a long brief of many words")
    assert told[2].endswith(f"… → short {whole}")
    assert len(told[2]) < 100
    assert f"Class id 1 3 → 7 colour red → crimson {whole}" == told[3]
    page = shop.looker.get(f"/console/changes/{edited}").text
    assert ("2 images changed." in page, first in page, second in page) == (True, True, True)
    assert '<b class="tag">2</b>' in page
    number = int(edited) - 1
    assert long.strip() in html.unescape(shop.looker.get(f"/console/changes/{number}").text)
    assert "short" in shop.looker.get(f"/console/changes/{deleted}").text
    library = Libraries(pool).named(shop.name)
    Journal(pool).purge(library, [store_signs.from_text(each.encode()) or 0 for _, each in signs])
    assert [] == told_in_short(shop.looker.get("/console/changes").text)
    page = shop.looker.get(f"/console/changes/{number}").text
    assert ("long brief" in page, "not known any more" in page) == (False, True)


def test_a_change_of_nobody(shop: Shop, shared_shop: Shop) -> None:
    """A number that is none, or of another library, is no page."""
    change = change_of(shop.editor.send("/console/delete", {"sign": shop.add(jpeg(1), "mine")}))
    assert 200 == shop.looker.get(f"/console/changes/{change}").status_code
    for address in (change, "9" * 30, "9" * 5000, "x", "0"):
        person = shared_shop.looker if address == change else shop.looker
        assert 404 == person.get(f"/console/changes/{address}").status_code, address


@one_postgresql
def test_many_images_are_pages(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """All images of a change are there once; in the list the first ones stand for them."""
    shop.add(jpeg(1), "b")
    with pool.connection() as connection:
        many.multiply(connection, shop.name, 2 * CHANGES_PAGE + 20)
        known = [*many.stored(connection, shop.name)]
    fields = [("class_id2_do", "set"), ("class_id2", "5")]
    chosen = [("sign", sign) for sign in known]
    change = change_of(shop.editor.send("/console/edit/apply", [*chosen, *fields]))
    (told,) = told_in_short(shop.editor.get("/console/changes").text)
    assert "Class id 2 none → 5 … The whole change" == told
    address: str | None = f"/console/changes/{change}"
    found = []
    while address:
        page = shop.editor.get(address)
        assert f'<b class="tag">{len(known)}</b>' in page.text
        found += re.findall(r'<td><a href="/console/images/([0-9,]+)"', page.text)
        address = link(page, "next")
    assert sorted(known) == sorted(found)
