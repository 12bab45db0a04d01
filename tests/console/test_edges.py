"""Odd addresses, odd proxies, odd names: told what is right, and nothing is lost."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from psycopg_pool import ConnectionPool
from starlette.requests import Request

from demo.processes import Engine, ServerError
from productsearch_engine.console.add import filled
from productsearch_engine.console.origin import comes_from_here
from productsearch_engine.console.visit import safe
from productsearch_engine.limits import DOUBLES_PAIRS
from productsearch_engine.store.libraries import Libraries, LibraryError
from productsearch_engine.store.library_settings import LibrarySettings
from productsearch_engine.store.users import Users
from tests.console.conftest import _HASH, PASSWORD, Shop
from tests.console.person import Person, change_of, full_width, link, signs_of
from tests.engine.databases import one_postgresql
from tests.engine.image_files import jpeg


def test_a_refused_form_leads_back(shop: Shop) -> None:
    """To the page that it is on, and to no other site's."""
    form = {"name": "another name"}
    for page, led in (("/console/library", True), ("//elsewhere/console/x", False)):
        headers = {"Referer": shop.editor.url + page}
        told = shop.editor.send("/console/library/empty", form, headers=headers)
        assert 400 == told.status_code
        assert led is (f'<a class="button" href="{page}">Back</a>' in told.text)
        assert led is ("Back</a>" in told.text)


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [
        ("PUT", "/console/", 405),
        ("DELETE", "/console/images/1,2", 405),
        ("POST", "/console/nothing", 405),
        ("GET", "/console/delete", 404),
        ("GET", "/console/pins/" + "9" * 5000 + ".webp", 404),
        ("GET", "/console/pins/" + "9" * 30 + ".webp", 404),
        ("GET", "/console/pins/x.webp", 404),
    ],
)
def test_what_no_page_is_for(shared_shop: Shop, method: str, address: str, status: int) -> None:
    """Is a page about that, with the headers of every answer, and no fault."""
    editor = shared_shop.editor
    answer = editor.session.request(method, editor.url + address, timeout=60)
    assert status == answer.status_code
    assert answer.headers["content-security-policy"].startswith("default-src 'none';")


@pytest.mark.parametrize(
    ("scheme", "host", "origin", "expected"),
    [
        ("http", "shop.example", "http://shop.example", True),
        ("http", "shop.example", "https://shop.example", True),  # a proxy that does not say so
        ("https", "shop.example:443", "https://shop.example", True),
        ("http", "shop.example:443", "https://shop.example", True),
        ("http", "shop.example:80", "http://shop.example", True),
        ("https", "Shop.Example", "https://shop.example", True),
        ("https", "shop.example:8443", "https://shop.example:8443", True),
        ("https", "[2001:db8::1]:443", "https://[2001:db8::1]", True),
        ("https", "shop.example", "http://shop.example", False),
        ("https", "shop.example:8443", "https://shop.example", False),
        ("https", "shop.example:443", "https://shop.example:80", False),
        ("http", "shop.example", "null", False),
        ("http", "", "null", False),
        ("http", "shop.example", "file://shop.example", False),
        ("http", "shop.example", "http://evil.example", False),
        ("http", "[", "http://[", False),
    ],
)
def test_origins(scheme: str, host: str, origin: str, expected: bool) -> None:
    """A form comes from here however a proxy writes the host, and from nowhere else."""
    headers = [(b"host", host.encode()), (b"origin", origin.encode())]
    scope = {"type": "http", "scheme": scheme, "path": "/", "query_string": b"", "server": ("a", 1)}
    assert expected == comes_from_here(Request({**scope, "headers": headers}))


@pytest.mark.parametrize(
    ("back", "expected"),
    [
        ("/console/?text=../..", "/console/?text=../.."),
        ("/console/images/1,2#at-1,2", "/console/images/1,2#at-1,2"),
        ("/console/../oauth/2.0/token", "/console/"),
        ("/console/%2e%2E/oauth", "/console/"),
        ("/console/./..", "/console/"),
        ("http://[", "/console/"),
        ("//[x", "/console/"),
    ],
)
def test_a_way_up_leads_nowhere(back: str, expected: str) -> None:
    """Where to go on is within the console, as browsers read it."""
    assert expected == safe(back)


def test_what_is_no_address(shared_shop: Shop) -> None:
    """Wherever somebody sends one, no answer is a fault of ours."""
    editor, stranger = shared_shop.editor, Person(shared_shop.caller.url)
    for address in ("sign-in", "language/en"):
        for back in ("http://[", "//[x"):
            answer = stranger.get(f"/console/{address}", params={"back": back})
            assert answer.status_code in (200, 303)
    fields = {"sign": shared_shop.add(jpeg(1)), "back": "http://["}
    for name, status in (("Referer", 200), ("Origin", 403)):
        sent = editor.send("/console/edit", fields, headers={name: "http://["})
        assert status == sent.status_code
    assert 200 == editor.send("/console/edit", fields).status_code


def test_each_filter_can_be_taken_away(shop: Shop) -> None:
    """Also one of a class id that is rare, or that no image has."""
    for number in range(26):
        shop.add(jpeg(number), class_id1=str(100 + number))
    for chosen, count in (("125", 1), ("999", 0)):
        page = shop.looker.get(f"/console/?class_id1={chosen}&text=b")
        assert count == len(signs_of(page))
        chip = re.findall(r'<a class="chip" aria-current="true" href="([^"]*)"', page.text)
        assert ["/console/?text=b"] == [html.unescape(each) for each in chip]
    page = shop.looker.get("/console/?class_id2=7").text
    assert 1 == page.count("Remove this filter")


@pytest.mark.parametrize("name", ['5" bowl.jpg', "a\\b\n.png", "红碗.webp"])
def test_a_template_of_json_stays_json(name: str) -> None:
    """Whatever a file is called; a template of words has the name as it is."""
    stem = name.rpartition(".")[0]
    made = json.loads(filled('{"name": "{name}", "in": ["{name}"]}', name))
    assert {"name": stem, "in": [stem]} == made
    assert f"{stem}, new" == filled("{name}, new", name)
    assert f"{{{stem}" == filled("{{name}", name)


def test_words_for_another_sign_in(new_shop: Callable[..., Shop]) -> None:
    """Who signs in elsewhere in another tab finds what they wrote, and is told what it is."""
    one, other = new_shop(), new_shop()
    sign = one.add(jpeg(1), "before")
    token = one.editor.token
    number = other.name.removeprefix("shop-")
    assert 303 == one.editor.sign_in(f"edit-{number}", PASSWORD).status_code
    one.editor.token = token
    saved = one.editor.send(f"/console/images/{sign}", {"brief": "long <words>"})
    assert 403 == saved.status_code
    assert "another sign-in" in saved.text
    assert "long &lt;words&gt;" in saved.text


def test_an_address_tells_others_of_no_change(shop: Shop) -> None:
    """The undo of a change is offered to who made it; others have the page of changes."""
    done = shop.editor.send("/console/delete", {"sign": shop.add(jpeg(1))}).headers["location"]
    assert "1 image deleted." in shop.editor.get(done).text
    assert "1 image deleted." not in shop.looker.get(done).text
    assert "1 image deleted." in shop.looker.get("/console/changes").text


def test_names_however_they_are_typed(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Wide letters and loose accents are the same name, in every script, and no two are alike."""
    users = Users(pool)
    names = ("mei-" + shop.name, "José-" + shop.name, "हिन्दी-" + shop.name, "น้ำ" + shop.name)
    for name in names:
        users.add(name, library=shop.name, role="look", password_hash=_HASH)
    typed = (full_width(names[0]), names[1].replace("é", "e\u0301"), names[2])
    for each in typed:
        assert 303 == Person(shop.caller.url).sign_in(each, PASSWORD).status_code
    for alike in (*typed, names[0].upper()):
        with pytest.raises(LibraryError, match="exists"):
            users.add(alike, library=shop.name, role="edit", password_hash=_HASH)
    for wrong in ("", "_a", "a b", "a\0", "\u0301a", "a" * 65):
        with pytest.raises(LibraryError, match="1 to 64 letters"):
            users.add(wrong, library=shop.name, role="edit", password_hash=_HASH)
    users.remove(typed[1])
    assert users.find(names[1]) is None


def test_another_role_and_another_password(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """A role counts at once, in sessions that are open; another password ends them."""
    users, sign = Users(pool), shop.add(jpeg(1))
    users.change(shop.looker_name, role="edit", password_hash=None)
    assert 303 == shop.looker.send("/console/delete", {"sign": sign}).status_code
    users.change(shop.looker_name, role="look", password_hash=None)
    assert 403 == shop.looker.send("/console/delete", {"sign": sign}).status_code
    users.change(shop.looker_name, role=None, password_hash="another")
    assert 303 == shop.looker.get("/console/").status_code
    with pytest.raises(LibraryError, match="no user"):
        users.change("nobody", role="edit", password_hash=None)


@pytest.mark.slow
def test_the_command_for_both(engine: Engine, shop: Shop) -> None:
    """``user set`` prints a password that works, and refuses to change nothing."""
    name = shop.looker_name
    shown = engine.command("user", "set", name, "--role", "edit", "--new-password")
    password = shown.partition("password    ")[2].split("\n")[0]
    person = Person(engine.url)
    assert 401 == person.sign_in(name, PASSWORD).status_code
    assert 303 == person.sign_in(name, password).status_code
    assert 200 == person.get("/console/add").status_code
    with pytest.raises(ServerError, match="nothing to change"):
        engine.command("user", "set", name)


def test_an_add_that_the_journal_does_not_know(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """What is stored is told as added, and that no undo is offered."""
    library = Libraries(pool).named(shop.name)
    with pool.connection() as connection:
        connection.execute(
            "create function no_journal() returns trigger language plpgsql as"
            " $$ begin raise exception 'no journal'; end $$"
        )
        connection.execute(
            "create trigger no_journal before insert on changes for each row"
            f" when (new.library_id = {library.id}) execute function no_journal()"
        )
    try:
        files = [("image", (f"{seed}.jpg", jpeg(seed))) for seed in (1, 2)]
        page = shop.editor.send("/console/add", files=files)
    finally:
        with pool.connection() as connection:
            connection.execute("drop function no_journal() cascade")
    assert 200 == page.status_code
    assert 2 == page.text.count("Added. No undo is offered")
    assert 2 == len(signs_of(shop.editor.get("/console/")))


@one_postgresql
def test_many_doubles_are_several_pages(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """A page ends after so many pairs, and the next one goes on where it ended."""
    shop.add(jpeg(1))
    with pool.connection() as connection:
        connection.execute(
            "insert into images (library_id, sign, digest, brief, embedding, created_at)"
            " select library_id, sign + n, digest || n::text::bytea, brief, i.embedding,"
            " i.created_at + n * interval '1 second' from images i"
            " join libraries l on l.id = library_id, generate_series(1, 59) n where l.name = %s",
            [shop.name],
        )
        connection.execute(
            "insert into kept_images (library_id, sign, webp) select k.library_id, k.sign + n, webp"
            " from kept_images k join libraries l on l.id = library_id, generate_series(1, 59) n"
            " where l.name = %s",
            [shop.name],
        )
    pairs: list[tuple[str, ...]] = []
    address: str | None = "/console/doubles"
    while address:
        page = shop.editor.get(address)
        found = re.findall(r'name="keep" value="([^"]*)"', page.text)
        assert len(found) <= 2 * (DOUBLES_PAIRS + 4)
        pairs += [tuple(found[at : at + 2]) for at in range(0, len(found), 2)]
        address = link(page, "next")
    assert len(pairs) == len({*pairs}) > DOUBLES_PAIRS


def test_doubles_without_copies(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """A library that keeps none is not told that it has no pairs."""
    shop.add(jpeg(1))
    LibrarySettings(pool).keep_images(shop.name, False)
    page = shop.looker.get("/console/doubles").text
    assert "Without copies no pair is known" in page
    assert "No pair among these images" not in page


def test_undo_of_others_on_changes(shop: Shop) -> None:
    """Any editor may undo what somebody else did; it is written down as theirs."""
    done = shop.editor.send("/console/delete", {"sign": shop.add(jpeg(1))})
    owner = Person(shop.caller.url)
    assert 303 == owner.sign_in(*shop.keys).status_code
    assert 303 == owner.send("/console/undo", {"change": change_of(done)}).status_code
    page = owner.get("/console/changes?kind=undo").text
    assert f"key {shop.keys[0][:6]}…" in page
