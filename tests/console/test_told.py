"""What a person is told of a change: the undo on every page, what others did, what was chosen."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import unquote

from psycopg_pool import ConnectionPool

from productsearch_engine.console import assets
from productsearch_engine.limits import SESSION_S
from tests.console import many
from tests.console.conftest import Shop
from tests.console.person import change_of, signs_of
from tests.engine.databases import one_postgresql
from tests.engine.image_files import jpeg


def test_each_page_offers_the_undo(shop: Shop) -> None:
    """Wherever a delete leads back to, also to an error, its undo is there."""
    signs = [shop.add(jpeg(seed)) for seed in range(3)]
    results = f"/console/search?like={signs[0]}"
    for sign, back, status in (
        (signs[1], results, 200),
        (signs[0], results, 404),
        (signs[2], "/console/add", 200),
    ):
        deleted = shop.editor.send("/console/delete", {"sign": sign, "back": back})
        page = shop.editor.get(deleted.headers["location"])
        assert status == page.status_code
        assert "1 image deleted." in page.text
        assert f'name="change" value="{change_of(deleted)}"' in page.text
        undo = page.text.partition('action="/console/undo"')[2]
        there = html.unescape(re.findall(r'name="back" value="([^"]*)"', undo)[0])
        undone = shop.editor.send("/console/undo", {"change": change_of(deleted), "back": there})
        page = shop.editor.get(undone.headers["location"])
        assert (200, True) == (page.status_code, "Undone." in page.text)


@one_postgresql
def test_a_bulk_edit_minds_others(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Who changed or deleted a selected image meanwhile is not overwritten unseen."""
    signs = [shop.add(jpeg(seed), f"b{seed}") for seed in range(3)]
    chosen = [("sign", sign) for sign in signs]
    page = shop.editor.send("/console/edit", chosen).text

    def hidden(text: str) -> list[tuple[str, str]]:
        return re.findall(r'name="(sign|version)" value="([^"]*)"', text)

    wanted = [("brief_do", "set"), ("brief", "all the same")]
    shop.caller.call("update", cont_sign=signs[0], brief="careful words")
    late = shop.editor.send("/console/edit/apply", [*hidden(page), *wanted])
    assert 409 == late.status_code
    assert "Somebody else" in late.text
    assert "all the same" in late.text
    shop.caller.call("delete", cont_sign=signs[1])
    gone = shop.editor.send("/console/edit/apply", [*hidden(late.text), *wanted])
    assert 409 == gone.status_code
    with pool.connection() as connection:
        briefs = {row[1] for row in many.stored(connection, shop.name).values()}
    assert {b"careful words", b"b2"} == briefs
    assert "1 of those that were selected is not in the library" in gone.text
    again = shop.editor.send("/console/edit/apply", [*hidden(gone.text), *wanted])
    assert "2 images changed." in shop.editor.get(again.headers["location"]).text


def test_a_bulk_edit_of_nothing(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """A value beside Leave, and Leave alone, are refused: nothing is told to be changed."""
    sign = shop.add(jpeg(1))
    for fields in (
        [],
        [("class_id2_do", "keep"), ("class_id2", "12")],
        [("class_id1_do", "remove"), ("brief_do", "keep"), ("brief", "new")],
    ):
        refused = shop.editor.send("/console/edit/apply", [("sign", sign), *fields])
        assert 400 == refused.status_code
        assert "Choose what to set" in refused.text
    with pool.connection() as connection:
        assert [] == many.changes(connection, shop.name)


def test_words_for_an_image_that_is_gone(shop: Shop) -> None:
    """Who saves an image that was deleted meanwhile gets back what they wrote."""
    sign = shop.add(jpeg(1))
    shop.caller.call("delete", cont_sign=sign)
    saved = shop.editor.send(f"/console/images/{sign}", {"brief": "long <words>"})
    assert 404 == saved.status_code
    assert "long &lt;words&gt;" in saved.text
    assert "/console/changes" in saved.text
    assert [] == signs_of(shop.editor.get("/console/"))


def test_another_language_on_a_page_of_a_form(shop: Shop) -> None:
    """The link to the other language leads to where the form was sent from, never to nothing."""
    sign = shop.add(jpeg(1))
    fields = [("sign", sign), ("back", "/console/")]
    for referer, expected in (
        (f"{shop.editor.url}/console/?class_id1=3", "/console/?class_id1=3"),
        ("", "/console/"),
        ("https://elsewhere.example/a", "/console/"),
    ):
        page = shop.editor.send("/console/edit", fields, headers={"Referer": referer}).text
        link = html.unescape(re.findall(r'href="(/console/language/zh[^"]*)"', page)[0])
        assert expected == unquote(link.partition("back=")[2])
        assert 200 == shop.editor.get(link, allow_redirects=True).status_code
        shop.editor.get("/console/language/en")


def test_the_end_of_a_session_is_told_ten_minutes_before(shop: Shop) -> None:
    """By the script, which asks how long it lasts, and by the style where there is no script.

    What a browser then shows is a step of ``tests.console.mishaps``.
    """
    page = shop.looker.get("/console/").text
    asked = re.search(r'<aside class="ending" data-ending="([^"]*)"', page)
    assert asked
    assert SESSION_S - 60 < int(shop.looker.get(asked[1]).text) <= SESSION_S
    style, script = (shop.looker.get(assets.address(f"console.{each}")).text for each in _KINDS)
    assert "const SOON_MS = 10 * 60_000;" in script
    assert 'all("[data-ending]").forEach(tellEnd);' in script
    (shown_s,) = re.findall(r"\.ending \{[^}]* animation: soon 1ms ([0-9]+)s both;", style)
    assert 600 <= SESSION_S - int(shown_s) <= 3600 + 600


_KINDS = ("css", "js")
