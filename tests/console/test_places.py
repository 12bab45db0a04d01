"""The place in a list: kept through the page of an image, a save and a delete."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from tests.console import many
from tests.console.conftest import Shop
from tests.console.person import signs_of
from tests.engine.databases import one_postgresql
from tests.engine.image_files import jpeg


def back_of(page: str) -> str:
    """Return where the link back to the list leads."""
    return html.unescape(re.findall(r'<a href="([^"]*)" data-key="Escape"', page)[0])


@pytest.mark.parametrize("sort", ["", "?sort=oldest", "?sort=brief&text=b"])
def test_the_list_begins_with_the_image(shop: Shop, sort: str) -> None:
    """Back from an image the list begins there, with its filters, and the image has its place."""
    for seed in range(4):
        shop.add(jpeg(seed), f"b{seed}")
    listed = signs_of(shop.looker.get(f"/console/{sort}"))
    for number, sign in enumerate(listed):
        page = shop.looker.get(f"/console/images/{sign}{sort}").text
        address, _, place = back_of(page).partition("#")
        assert f"at-{sign}" == place
        back = shop.looker.get(address)
        assert listed[number:] == signs_of(back)
        assert f'id="at-{sign}"' in back.text


def test_results_are_come_back_to(shop: Shop) -> None:
    """An image that was opened from results leads back to them, and nowhere else."""
    signs = [shop.add(jpeg(seed)) for seed in range(3)]
    address = f"/console/search?like={signs[0]}&least=0.01"
    results = shop.editor.get(address).text
    opened = re.findall(r'class="open" href="([^"]*)"', results)
    page = shop.editor.get(html.unescape(opened[1])).text
    assert f"{address}#at-" in back_of(page)
    assert "data-steps" in page
    for elsewhere in ("//evil.example/console/", "https://evil.example", "/other", "javascript:1"):
        page = shop.editor.get(f"/console/images/{signs[0]}", params={"from": elsewhere}).text
        assert back_of(page).startswith("/console/")
        assert "evil" not in page.partition("<main")[2]
    version = re.findall(r'name="version" value="(\d+)"', page)[0]
    fields = {"brief": "new", "version": version, "then": "next", "next": signs[2]}
    saved = shop.editor.send(f"/console/images/{signs[0]}?from=/console/search", fields)
    assert saved.headers["location"].startswith(f"/console/images/{signs[2]}?from=")


def test_a_delete_goes_on(shop: Shop) -> None:
    """After a delete comes the next image of the list; after the last one the list."""
    for seed in range(2):
        shop.add(jpeg(seed))
    first, second = signs_of(shop.editor.get("/console/"))
    for sign, expected in ((first, f"/console/images/{second}"), (second, "/console/")):
        page = shop.editor.get(f"/console/images/{sign}").text
        form = page.partition('action="/console/delete"')[2]
        back = html.unescape(re.findall(r'name="back" value="([^"]*)"', form)[0])
        deleted = shop.editor.send("/console/delete", {"sign": sign, "back": back})
        assert deleted.headers["location"].startswith(f"{expected}?done=")
        assert "1 image deleted." in shop.editor.get(deleted.headers["location"]).text


def test_save_then_next_leaves_the_image(shop: Shop) -> None:
    """Also if its new brief puts it where the next one would be looked for."""
    signs = {brief: shop.add(jpeg(n), brief) for n, brief in enumerate(("a", "c", "e"))}
    for brief, new, following in (("a", "b", "c"), ("c", "aa", "e"), ("e", "f", "e")):
        address = f"/console/images/{signs[brief]}?sort=brief"
        version = re.findall(r'name="version" value="(\d+)"', shop.editor.get(address).text)[0]
        fields = {"brief": new, "version": version, "then": "next"}
        saved = shop.editor.send(address, fields).headers["location"]
        assert saved.startswith(f"/console/images/{signs[following]}?"), brief


@one_postgresql
def test_a_save_of_nothing_is_no_change(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Enter on each image leaves no trace in the journal, and no conflict for others."""
    brief = "\nbegins with a line end"
    sign = shop.add(jpeg(1), brief, class_id1="3")
    address = f"/console/images/{sign}"
    page = shop.editor.get(address).text
    field = re.findall(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)[0]
    version = re.findall(r'name="version" value="(\d+)"', page)[0]
    for _ in range(2):
        # Browsers send each line end as two characters.
        sent = html.unescape(field).replace("\n", "\r\n")
        fields = {"brief": sent, "class_id1": "3", "version": version}
        assert 303 == shop.editor.send(address, fields).status_code
    with pool.connection() as connection:
        assert [] == many.changes(connection, shop.name)
        assert brief.encode() == many.stored(connection, shop.name)[sign][1]
