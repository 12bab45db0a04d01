"""Searches by a part of an image, and searches that are kept with the image they must find."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest
from psycopg_pool import ConnectionPool

from demo.processes import Engine
from productsearch_engine.limits import PINS_MAX
from productsearch_engine.store.pins import Pins
from tests.console.conftest import Shop
from tests.console.person import signs_of
from tests.engine.image_files import jpeg

PART = {"left": "10", "top": "20", "width": "50", "height": "60.5"}


def test_a_part_is_searched_with(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """A part of a file or of a stored image has an address and a vector of its own."""
    signs = [shop.add(jpeg(n)) for n in range(2)]
    asked = shop.looker.send("/console/search", files={"image": ("a.jpg", jpeg(0))})
    whole = asked.headers["location"].partition("query=")[2]
    for source in ({"query": whole}, {"like": signs[0]}):
        answer = shop.looker.send("/console/search/part", source | PART | {"class_id1": "3"})
        assert 303 == answer.status_code
        assert "class_id1=3" in answer.headers["location"]
        key = re.findall("query=([0-9a-f]{64})", answer.headers["location"])[0]
        assert key != whole
        page = shop.looker.get(f"/console/search?query={key}")
        assert {*signs} == {*signs_of(page)}
        assert "/console/frames/10,20,50,60.5.svg" in page.text
        assert "-d region=0.1,0.2,0.5,0.605" in page.text
        assert b"RIFF" == shop.looker.get(f"/console/queries/{key}.webp").content[:4]
    with pool.connection() as connection:
        rows = connection.execute(
            "select q.embedding::text, region from query_images q join libraries on id = library_id"
            " where name = %s order by region nulls first",
            [shop.name],
        ).fetchall()
    assert [None, [0.1, 0.2, 0.5, 0.605]] == [row[1] for row in rows]
    assert rows[0][0] != rows[1][0]


@pytest.mark.parametrize(
    "changed",
    [
        {"left": "51"},
        {"width": "0"},
        {"top": "-1"},
        {"height": "nan"},
        {"height": "inf"},
        {"left": ""},
        {"width": "a"},
    ],
)
def test_a_part_lies_inside(shared_shop: Shop, changed: dict[str, str]) -> None:
    """A part that leaves the image, or has no area, is refused with the rule."""
    sign = shared_shop.add(jpeg(1))
    fields = {"like": sign} | PART | changed
    answer = shared_shop.looker.send("/console/search/part", fields)
    assert 400 == answer.status_code
    assert "in percent of the image" in answer.text
    values = ",".join(fields[name] for name in PART)
    assert 400 == shared_shop.looker.get(f"/console/frames/{values}.svg").status_code


def test_frames(shared_shop: Shop) -> None:
    """A frame is an SVG of its own; that of a stored image is where the embedding looks."""
    frame = shared_shop.looker.get("/console/frames/10,20,50,60.5.svg")
    assert "image/svg+xml" == frame.headers["content-type"].partition(";")[0]
    assert 'x="10" y="20" width="50" height="60.5"' in frame.text
    sign = shared_shop.add(jpeg(1))
    # classic-1 does not look for the product: no frame.
    assert "<rect" not in shared_shop.looker.get(f"/console/subjects/{sign}.svg").text
    assert 404 == shared_shop.looker.get("/console/subjects/1.svg").status_code


def test_an_undo_keeps_the_callers_part(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Where the caller of the add said the product is: there again after delete and undo."""
    sign = shop.add(jpeg(1), region="0.1,0.1,0.5,0.5")
    deleted = shop.editor.send("/console/delete", {"sign": sign})
    change = re.findall("done=([0-9]+)", deleted.headers["location"])[0]
    assert 303 == shop.editor.send("/console/undo", {"change": change}).status_code
    with pool.connection() as connection:
        rows = connection.execute(
            "select region from kept_images join libraries on id = library_id where name = %s",
            [shop.name],
        ).fetchall()
    assert [([0.1, 0.1, 0.5, 0.5],)] == rows
    assert "/console/frames/10,10,50,50.svg" in shop.looker.get(f"/console/search?like={sign}").text


def test_pins(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """A pin is run again: first, further down, not found; also by a part, and once only."""
    signs = [shop.add(jpeg(n), f"b{n}", class_id1=str(1 + n % 2)) for n in range(3)]
    like = {"like": signs[0]}
    for hit, filters in ((0, {}), (1, {}), (2, {"class_id1": "2"}), (0, {})):
        pinned = shop.editor.send("/console/pins", like | filters | {"hit": signs[hit]})
        assert 303 == pinned.status_code
    part = shop.editor.send("/console/search/part", like | PART).headers["location"]
    query = {"query": part.partition("query=")[2]}
    assert 303 == shop.editor.send("/console/pins", query | {"hit": signs[0]}).status_code
    page = shop.looker.get("/console/pins").text
    assert 4 == page.count("not run yet</em>")
    assert "4 are not run yet." in page
    assert "image first" not in page
    assert 1 == page.count("by a part")
    assert 303 == shop.looker.send("/console/pins/run").status_code
    ran = shop.looker.get("/console/pins").text
    assert "not run yet" not in ran
    assert "of 4 find their image first" in ran
    assert 1 == ran.count(">not found<")
    assert re.search("found as number [23]", ran)
    assert "found first" in ran
    number = re.findall(r"/console/pins/([0-9]+)\.webp", ran)
    assert b"RIFF" == shop.looker.get(f"/console/pins/{number[0]}.webp").content[:4]
    for nobody in ("9" * 30, "9" * 5000, "x"):
        assert 404 == shop.looker.get(f"/console/pins/{nobody}.webp").status_code
    shop.editor.send("/console/delete", {"sign": signs[0]})
    shop.editor.send("/console/pins/run")
    assert "Not in the library any more" in shop.looker.get("/console/pins").text
    for each in number:
        assert 303 == shop.editor.send("/console/pins/remove", {"pin": each}).status_code
    assert "No search is pinned yet" in shop.looker.get("/console/pins").text


def test_a_pin_is_brought_back(new_shop: Callable[..., Shop], pool: ConnectionPool[Any]) -> None:
    """A removal can be undone once and for a day, by editors of its library."""
    one, other = new_shop(), new_shop()
    sign = one.add(jpeg(1))
    pin = {"like": sign, "hit": sign}
    one.editor.send("/console/pins", pin)
    one.editor.send("/console/pins/run")
    number = re.findall(r"/console/pins/([0-9]+)\.webp", one.editor.get("/console/pins").text)[0]
    for undo in ({"pin": number}, None):
        removed = one.editor.send("/console/pins/remove", {"pin": number}).headers["location"]
        page = one.editor.get(removed).text
        assert "The pin was removed." in page
        assert f'name="pin" value="{number}" data-key="u"' in page
        assert 404 == one.editor.get(f"/console/pins/{number}.webp").status_code
        assert 409 == other.editor.send("/console/pins/undo", {"pin": number}).status_code
        # The same search, pinned again, is the same pin, with its last run.
        assert "The pin was removed." not in one.looker.get(removed).text
        back = one.editor.send(*(("/console/pins/undo", undo) if undo else ("/console/pins", pin)))
        assert 303 == back.status_code
        # Whoever comes to the address again is told of no removal, and offered no undo of one.
        assert "The pin was removed." not in one.editor.get(removed).text
        assert "found first" in one.editor.get("/console/pins").text
        assert 409 == one.editor.send("/console/pins/undo", {"pin": number}).status_code
    one.editor.send("/console/pins/remove", {"pin": number})
    with pool.connection() as connection:
        connection.execute(
            "update pins set removed_at = now() - interval '25 hours' where id = %s", [number]
        )
    assert 409 == one.editor.send("/console/pins/undo", {"pin": number}).status_code
    assert "The pin was removed." not in one.editor.get(removed).text
    Pins(pool).forget_old()
    with pool.connection() as connection:
        row = connection.execute("select from pins where id = %s", [number]).fetchone()
    assert row is None


def test_a_pin_outlives_a_change_of_embedding(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """A vector of another generation is made anew from the copy."""
    sign = shop.add(jpeg(1))
    shop.editor.send("/console/pins", {"like": sign, "hit": sign})
    with pool.connection() as connection:
        connection.execute(
            "update pins set generation = 7, embedding = '[1,0]'"
            " where library_id = (select id from libraries where name = %s)",
            [shop.name],
        )
    shop.editor.send("/console/pins/run")
    assert "found first" in shop.looker.get("/console/pins").text


def test_pins_are_bounded_and_ones_own(
    new_shop: Callable[..., Shop], pool: ConnectionPool[Any], engine: Engine
) -> None:
    """A library has so many pins; another one sees, runs and removes none; purge erases them."""
    one, other = new_shop(), new_shop()
    sign = one.add(jpeg(1))
    one.editor.send("/console/pins", {"like": sign, "hit": sign})
    number = re.findall(r"/console/pins/([0-9]+)\.webp", one.editor.get("/console/pins").text)[0]
    thief = other.editor
    assert 404 == thief.get(f"/console/pins/{number}.webp").status_code
    assert 404 == thief.send("/console/pins", {"like": sign, "hit": sign}).status_code
    thief.send("/console/pins/remove", {"pin": number})
    assert 403 == one.looker.send("/console/pins/remove", {"pin": number}).status_code
    assert number in one.editor.get("/console/pins").text
    with pool.connection() as connection:
        connection.execute(
            "insert into pins (library_id, sign, source, generation, embedding, webp, any_class,"
            " who) select library_id, n, source, generation, embedding, webp, any_class, who"
            " from pins, generate_series(1, %s) n where id = %s",
            [PINS_MAX - 1, int(number)],
        )
    full = one.editor.send("/console/pins", {"like": sign, "hit": one.add(jpeg(2))})
    assert 409 == full.status_code
    assert "Unpin one first" in full.text
    engine.command("purge", one.name, sign)
    assert "No search is pinned yet" in one.editor.get("/console/pins").text


def test_a_pin_stays_with_its_results(shop: Shop) -> None:
    """Whoever pins is still among the results, at the image, with a way to all pins."""
    sign, other = shop.add(jpeg(1)), shop.add(jpeg(2))
    results = f"/console/search?like={sign}&class_id1="
    page = shop.editor.get(results).text
    form = page.partition('id="pin"')[2].partition("</form>")[0]
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', html.unescape(form)))
    assert results == fields["back"]
    pinned = shop.editor.send("/console/pins", fields | {"hit": other})
    address = unquote(pinned.headers["location"])
    assert (f"/console/search?like={sign}", f"#at-{other}") == (
        address.partition("&")[0],
        address[address.index("#") :],
    )
    page = shop.editor.get(address).text
    assert "The search is pinned." in page
    assert '<a href="/console/pins">All pins</a>' in page
    assert [sign, other] == signs_of(shop.editor.get(address))
    assert other in shop.looker.get("/console/pins").text
    # One that somebody has deleted meanwhile is not pinned.
    shop.caller.call("delete", cont_sign=other)
    assert 404 == shop.editor.send("/console/pins", fields | {"hit": other}).status_code
