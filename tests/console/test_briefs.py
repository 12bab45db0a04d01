"""Briefs of every kind: no page fails, people read and find their letters, bytes stay."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg_pool import ConnectionPool

from productsearch_engine.console.add import filled
from productsearch_engine.console.card import readable
from productsearch_engine.store import signs
from productsearch_engine.store.libraries import Libraries
from tests.console import many
from tests.console.conftest import Shop
from tests.console.person import full_width, signs_of
from tests.engine.databases import one_postgresql
from tests.engine.image_files import jpeg

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
ODD = [
    r'{"name":"\ud83d"}',
    r'{"\udc00":1}',
    r'["\ud83d"]',
    r'{"a":"\u0000","b":[[[[1e999]]]]}',
    '{"a":NaN}',
    "[" * 250,
    '{"a":' * 50,
    "\x7f\x01\u202e\ufeff",
    '"><script>{{ 7 * 7 }}%(n)s',
    "\u2028\u2029\r\n\r",
]


@pytest.mark.parametrize("brief", ODD)
def test_no_page_fails(shared_shop: Shop, brief: str) -> None:
    """Each page that shows the brief answers, and the image can be edited and deleted."""
    sign = shared_shop.add(jpeg(900 + ODD.index(brief)), brief)
    editor = shared_shop.editor
    for address in ("", f"images/{sign}", f"search?like={sign}", "doubles", "library/images.jsonl"):
        assert 200 == editor.get(f"/console/{address}").status_code, address
    assert 200 == editor.send("/console/edit", {"sign": sign}).status_code
    version = re.findall(
        r'name="version" value="(\d+)"', editor.get(f"/console/images/{sign}").text
    )
    fields = {"brief": "b", "version": version[0]}
    assert 303 == editor.send(f"/console/images/{sign}", fields).status_code
    assert 303 == editor.send("/console/delete", {"sign": sign}).status_code


FOUND = [
    (json.dumps({"name": "红色杯子"}), ["红色杯子", "杯"]),
    ('{"name": "蓝色杯子"}', ["蓝色", "杯"]),
    ("Crème brûlée", ["crème", "CRÈME", unicodedata.normalize("NFD", "brûlée")]),
    (unicodedata.normalize("NFD", "Crème caramel"), ["crème", "CARAMEL"]),
    (full_width("ABC123") + " STRASSE", ["abc123", "straße"]),
    (json.dumps({"name": "Ärmel 😀"}), ["ärmel", "😀", '"name"']),
    ("50% off_", ["50%", "OFF_", f"0{full_width('%')} o"]),
]


def test_the_filter_finds_what_is_read(shop: Shop) -> None:
    """Letters that JSON has escaped, of either case, composed or not, wide ones."""
    added = [shop.add(jpeg(n), brief) for n, (brief, _) in enumerate(FOUND)]
    for sign, (brief, texts) in zip(added, FOUND, strict=True):
        for text in texts:
            page = shop.looker.session.get(
                shop.looker.url + "/console/", params={"text": text}, timeout=60
            )
            assert sign in signs_of(page), (brief, text)
    for text in ("杯%", "rème_", "u7ea3", "\\q"):
        page = shop.looker.session.get(
            shop.looker.url + "/console/", params={"text": text}, timeout=60
        )
        assert [] == signs_of(page), text


@one_postgresql
@pytest.mark.parametrize("number", ["1e131000", "1E+99999", "1e-16000"])
def test_numbers_of_many_digits(shop: Shop, pool: ConnectionPool[Any], number: str) -> None:
    """Eight letters may stand for a hundred thousand digits: a filter never writes them out."""
    numbers = ",".join([number] * 22)
    sign = shop.add(jpeg(1), f'{{"\\u7ea2":[{numbers}]}}')
    with pool.connection() as connection:
        many.multiply(connection, shop.name, 150)
        connection.execute(
            "update images i set brief = o.brief from images o join libraries l on l.id ="
            " o.library_id where l.name = %s and o.sign = %s and i.library_id = o.library_id",
            [shop.name, signs.from_text(sign.encode())],
        )
    shop.add(jpeg(2), '{"name": "\\u7ea2 7e2"}')
    page = shop.looker.session.get(shop.looker.url + "/console/?text=红 7e", timeout=60)
    assert (200, 1) == (page.status_code, len(signs_of(page)))


def test_escaped_letters_are_edited_as_letters(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """The field shows letters; what nobody changes in it stays as it is stored, byte by byte."""
    stored = json.dumps({"name": "红色杯子"})
    sign = shop.add(jpeg(1), stored)
    address = f"/console/images/{sign}"
    page = html.unescape(shop.editor.get(address).text)
    field = re.findall(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)[0]
    assert '{"name": "红色杯子"}' == field
    for brief, expected in ((field, stored), (field.replace("红", "蓝"), '{"name": "蓝色杯子"}')):
        version = re.findall(r'name="version" value="(\d+)"', shop.editor.get(address).text)[0]
        fields = {"brief": brief, "class_id1": full_width("7"), "version": version}
        assert 303 == shop.editor.send(address, fields).status_code
        row = _row(pool, shop)
        assert (expected.encode(), 7) == row


def _row(pool: ConnectionPool[Any], shop: Shop) -> Any:
    table = f"images_{Libraries(pool).named(shop.name).id}"
    with pool.connection() as connection:
        return connection.execute(f"select brief, class_id1 from {table}".encode()).fetchone()


@given(st.dictionaries(TEXTS, TEXTS | st.integers() | st.none(), max_size=3))
def test_readable_json_means_the_same(members: dict[str, Any]) -> None:
    """Whatever is in it; and a text that is no JSON is left alone."""
    escaped = json.dumps(members)
    assert members == json.loads(readable(escaped))
    printable = all(text.isprintable() for text in (*members, *map(str, members.values())))
    if printable and "\\" not in escaped.replace("\\u", ""):
        assert json.dumps(members, ensure_ascii=False) == readable(escaped)
    assert escaped[:-1] == readable(escaped[:-1])


def test_names_of_files_are_composed() -> None:
    """A file from a Mac has the name that people type."""
    assert "Crème" == filled("{name}", unicodedata.normalize("NFD", "Crème.jpg"))
