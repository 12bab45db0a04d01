"""The grid, its filters and its pages; thumbnails; search, add; both languages."""

from __future__ import annotations

import html
import io
import re
from pathlib import Path
from typing import Any

import pytest
from babel.messages.extract import extract_from_dir
from PIL import Image
from psycopg_pool import ConnectionPool

from productsearch_engine.console.language import LANGUAGES
from productsearch_engine.limits import CONSOLE_PAGE
from productsearch_engine.store import signs
from tests.console.conftest import Shop
from tests.console.person import Person, full_width, link, signs_of
from tests.engine.databases import one_postgresql
from tests.engine.image_files import jpeg

CONSOLE = Path(__file__).resolve().parents[2] / "engine/productsearch_engine/console"
NAMES = re.compile(r"%\(\w+\)s|\{\w+\}")


@one_postgresql
def test_pages_neither_overlap_nor_leave_gaps(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """In each order all pages together are the library, forwards and back again."""
    shop.add(jpeg(1))
    with pool.connection() as connection:
        # Several of one time and of one brief: the sign decides among them.
        connection.execute(
            "insert into images (library_id, sign, digest, brief, embedding, created_at)"
            " select library_id, sign + n * 7919, digest || n::text::bytea,"
            " ('b' || n %% 7)::bytea, i.embedding, i.created_at + n / 3 * interval '1 minute'"
            " from images i join libraries l on l.id = library_id, generate_series(1, %s) n"
            " where l.name = %s",
            [CONSOLE_PAGE * 2 + 3, shop.name],
        )
        rows = connection.execute(
            "select sign, i.created_at, brief from images i"
            " join libraries l on l.id = library_id where l.name = %s",
            [shop.name],
        ).fetchall()
    by_time = [signs.to_text(row[0]) for row in sorted(rows, key=lambda row: (row[1], row[0]))]
    by_brief = [signs.to_text(row[0]) for row in sorted(rows, key=lambda row: (row[2], row[0]))]
    orders = {"newest": by_time[::-1], "oldest": by_time, "brief": by_brief}
    for sort, expected in orders.items():
        address: str | None = f"?sort={sort}"
        pages = []
        while address is not None:
            page = shop.editor.get(f"/console/{address.removeprefix('/console/')}")
            pages.append(signs_of(page))
            address = link(page, "next")
        assert expected == [sign for each in pages for sign in each]
        back = []
        while (address := link(page, "prev")) is not None:
            page = shop.editor.get(address)
            back.append(signs_of(page))
        assert pages[:-1][::-1] == back


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("text=RED", {0, 1}),
        ("text=帆布", {1}),
        ("text=50%25", {2}),
        ("text=_", set()),
        ("text=a%00b", set()),
        ("class_id1=3", {0, 2}),
        ("class_id1=3&class_id2=4", {2}),
        ("class_id1=99999&text=red", {0, 1}),
        ("since=2020-01-01", {0, 1, 2, 3}),
        ("since=2999-01-01", set()),
        ("since=no&after=no.1&sort=no", {0, 1, 2, 3}),
        ("after=99999999999999999999999999.1", {0, 1, 2, 3}),
    ],
)
def test_filters(shared_filters: tuple[Shop, list[str]], query: str, expected: set[int]) -> None:
    """Each filter leaves what matches; a value that is none does not filter."""
    shop, known = shared_filters
    page = shop.looker.get(f"/console/?{query}")
    assert 200 == page.status_code
    assert {known[n] for n in expected} == {*signs_of(page)} & {*known}


def test_the_camera_beside_the_filter(shared_filters: tuple[Shop, list[str]]) -> None:
    """It leads to the search by an image, with the class ids that filter."""
    page = shared_filters[0].looker.get("/console/?class_id1=3&text=red")
    address = html.unescape(re.findall(r'class="button by-image" href="([^"]*)"', page.text)[0])
    search = shared_filters[0].looker.get(address)
    assert 200 == search.status_code
    assert 'name="class_id1" inputmode="numeric" value="3"' in search.text


@pytest.fixture(scope="module")
def shared_filters(shared_shop: Shop) -> tuple[Shop, list[str]]:
    """Some images of every kind."""
    kinds = [
        ("a Red shoe", {"class_id1": "3"}),
        ("red 帆布鞋", {}),
        ("50% off", {"class_id1": "3", "class_id2": "4"}),
        ("a\0c", {}),
    ]
    return shared_shop, [
        shared_shop.add(jpeg(300 + n), brief, **fields) for n, (brief, fields) in enumerate(kinds)
    ]


@pytest.mark.parametrize("size", [(400, 320), (300, 900), (1200, 300)])
def test_thumbnails(shared_shop: Shop, size: tuple[int, int]) -> None:
    """A thumbnail is a WebP of at most 256 px, true to the image's sides."""
    sign = shared_shop.add(jpeg(7, size))
    answer = shared_shop.looker.get(f"/console/thumbnails/{sign}.webp")
    assert "image/webp" == answer.headers["content-type"]
    assert answer.headers["cache-control"].startswith("private")
    with Image.open(io.BytesIO(answer.content)) as image:
        assert "WEBP" == image.format
        assert 256 == max(image.size)
        assert abs(image.size[0] / image.size[1] - size[0] / size[1]) < 0.05
    assert answer.content == shared_shop.looker.get(f"/console/thumbnails/{sign}.webp").content


def test_search(shop: Shop) -> None:
    """By file or by a stored image: the image itself first, filters as in a call, an address."""
    known = [shop.add(jpeg(n), f"b{n}", class_id1=str(1 + n % 2)) for n in range(4)]
    asked = shop.looker.send("/console/search", files={"image": ("a.jpg", jpeg(0))})
    address = asked.headers["location"]
    called = [hit["cont_sign"] for hit in shop.caller.call("search", image=jpeg(0))["result"]]
    for each in (address, f"/console/search?like={known[0]}"):
        page = shop.looker.get(each)
        assert called == signs_of(page)
        assert "same image" in page.text
    assert {known[1], known[3]} == {*signs_of(shop.looker.get(address + "&class_id1=2"))}
    least = shop.looker.get(address + "&least=1")
    assert [known[0]] == signs_of(least)
    assert "3 further images are below the least score." in least.text
    assert "curl -s" in least.text
    assert "They have 127.0.0.1:50051, where make run has it" in least.text
    assert shop.caller.secret_key not in least.text
    assert 404 == shop.looker.get("/console/search?query=" + "00" * 32).status_code


def test_a_search_without_results_names_what_would_help(shop: Shop) -> None:
    """That the library is empty, or those of the filters that were given."""
    asked = shop.editor.send("/console/search", files={"image": ("a.jpg", jpeg(0))})
    address = asked.headers["location"]
    empty = shop.editor.get(address + "&least=0.5").text
    assert "This library is empty" in empty
    assert "Lower the least score" not in empty
    shop.add(jpeg(1))
    both = "Lower the least score, or take a class id away."
    hints = {both, "Lower the least score.", "Take a class id away.", "This library is empty"}
    for fields, hint in (
        ("&least=1", "Lower the least score."),
        ("&class_id1=7", "Take a class id away."),
        ("&class_id2=7&least=1", both),
        ("&start=60", "No image is found"),
    ):
        page = shop.looker.get(address + fields).text
        assert hint in page
        assert not any(other in page for other in hints - {hint})


def test_refused_searches(shared_shop: Shop) -> None:
    """No image, no address, a private address: the form again, with the rule by the field."""
    looker = shared_shop.looker
    assert "each side 300 px at least" in looker.get("/console/search").text
    refused = {
        "No file was chosen.": looker.send("/console/search"),
        "no JPEG, PNG, BMP, WebP": looker.send(
            "/console/search", files={"image": ("a", b"<svg/>")}
        ),
        "has 90 by 90 px": looker.send(
            "/console/search", files={"image": ("a", jpeg(1, (90, 90)))}
        ),
        "address is not public": looker.send("/console/search", {"url": "http://127.0.0.1/a.jpg"}),
        "http:// or https://": looker.send("/console/search", {"url": "file:///etc/passwd"}),
    }
    for rule, answer in refused.items():
        assert 400 == answer.status_code
        beside = re.search(r'<p class="problem" id="why-(?:image|url)"[^>]*>([^<]*)', answer.text)
        assert beside
        assert rule in html.unescape(beside[1])
        assert 'action="/console/search' in answer.text
        assert shared_shop.looker_name in answer.text
    kept = looker.send("/console/search", {"url": "http://127.0.0.1/<a>", "class_id1": "7"}).text
    assert 'name="url" value="http://127.0.0.1/&lt;a&gt;"' in kept
    assert 'name="class_id1" value="7"' in kept


def test_errors_keep_the_navigation(shared_shop: Shop) -> None:
    """Who has signed in sees their name and the parts of the console on a page about an error."""
    looker = shared_shop.looker
    for status, answer in (
        (404, looker.get("/console/nothing")),
        (404, looker.get("/console/images/1,1")),
        (404, looker.get("/console/search?query=" + "00" * 32)),
        (403, looker.get("/console/add")),
        (403, looker.send("/console/delete", {"sign": "1,1"})),
    ):
        assert status == answer.status_code
        assert shared_shop.looker_name in answer.text
        assert '<nav class="tabs"' in answer.text
    unknown = Person(shared_shop.caller.url).get("/console/nothing")
    assert 404 == unknown.status_code
    assert '<nav class="tabs"' not in unknown.text


def test_add(shop: Shop) -> None:
    """Several files at once: each added or refused with the rule it broke; and undo."""
    files = [
        ("image", ("folder/red shoe.jpg", jpeg(1))),
        ("image", ("again.jpg", jpeg(1))),
        ("image", ("small.jpg", jpeg(2, (200, 200)))),
        ("image", ("page.svg", b"<svg onload=alert(1)>")),
        ("image", ("cut.jpg", jpeg(3)[:2000])),
        ("image", ("empty.jpg", b"")),
        ("image", ("x" * 190 + "字" * 40 + ".jpg", jpeg(4))),
    ]
    fields = {"brief": '{"name": "{name}"}', "class_id1": "5"}
    page = shop.editor.send("/console/add", fields, files=files)
    assert 1 == page.text.count("Added. <a")
    assert ["good", "there"] + ["bad"] * 5 == re.findall(r'<li class="(good|there|bad)"', page.text)
    assert re.search(r"data-room>1 of 500,000<", page.text)
    for rule in ("already", "to have 300", "no JPEG, PNG, BMP", "file is empty", "256 bytes"):
        assert rule in page.text
    found = shop.caller.call("search", image=jpeg(1))["result"]
    assert ['{"name": "red shoe"}'] == [hit["brief"] for hit in found]
    changes = shop.editor.get("/console/changes").text.partition("<table")[2]
    number = re.findall(r'name="change" value="([0-9]+)"', changes)
    assert 1 == len(number)
    assert 303 == shop.editor.send("/console/undo", {"change": number[0]}).status_code
    assert [] == signs_of(shop.editor.get("/console/"))


def test_a_filter_that_is_none(shared_shop: Shop) -> None:
    """A search's class id that is no number is told beside its field; wide digits are digits."""
    sign = shared_shop.add(jpeg(71), class_id1="12")
    for text in ("70000", "x", "-1", "1.5"):
        page = shared_shop.looker.get(f"/console/search?like={sign}&class_id1={text}")
        assert 400 == page.status_code
        assert 'id="why-class_id1"' in page.text
        assert [] == signs_of(page)
        compared = shared_shop.looker.get(f"/console/compare?like={sign}&class_id1={text}")
        assert compared.status_code in (200, 400)
    address = f"/console/search?like={sign}&class_id1={full_width('12')}"
    assert [sign] == signs_of(shared_shop.looker.get(address))


def test_a_page_that_is_gone(shop: Shop) -> None:
    """Who deletes the last page is told so, and led to the first; no filter is blamed."""
    signs = [shop.add(jpeg(n)) for n in range(2)]
    newest = signs_of(shop.editor.get("/console/"))[0]
    page = shop.editor.get(f"/console/images/{newest}")
    assert page.status_code == 200
    place = f"{2**52}.1"
    page = shop.editor.get(f"/console/?sort=oldest&after={place}")
    assert "No further image" in page.text
    assert 'href="/console/?sort=oldest"' in page.text
    assert "Take a filter away" not in page.text
    assert 2 == len(signs)


def test_every_sentence_is_translated() -> None:
    """Chinese has each sentence of templates and code, with the same places for values."""
    methods = [("templates/**.html", "jinja2.ext.babel_extract"), ("**.py", "python")]
    found: set[str] = set()
    for _, _, message, _, _ in extract_from_dir(
        str(CONSOLE), method_map=methods, keywords={"_": None, "n_": (1, 2)}
    ):
        found |= {message} if isinstance(message, str) else {*message}
    assert len(found) > 100
    for sentence in found:
        translated = LANGUAGES["zh"].text(sentence)
        assert {*NAMES.findall(sentence)} == {*NAMES.findall(translated)}, sentence
        assert sentence == "brief" or translated != sentence


def test_pages_are_in_the_readers_language(shared_shop: Shop) -> None:
    """The browser's language counts until somebody chooses another one."""
    looker = shared_shop.looker
    headers = {"Accept-Language": "zh-CN,en;q=0.5"}
    assert '<html lang="zh-CN">' in looker.get("/console/", headers=headers).text
    assert '<html lang="en">' in looker.get("/console/", headers={"Accept-Language": "fr"}).text
    person = Person(shared_shop.caller.url)
    person.get("/console/language/zh")
    assert "登录" in person.get("/console/sign-in").text
    assert 404 == person.get("/console/language/xx").status_code
