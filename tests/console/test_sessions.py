"""When a session ends, for everyone who has its cookie, and what strangers can hold up."""

from __future__ import annotations

import hashlib
import socket
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from psycopg_pool import ConnectionPool
from starlette.requests import Request
from starlette.responses import Response

from demo.processes import Engine
from productsearch_engine.console.attempts import Attempts, Places, counted_as
from productsearch_engine.console.session import Sessions
from productsearch_engine.limits import (
    CLOCKS_APART_S,
    RESENT_OF_ADDRESS,
    SIGN_IN_TRIES,
    TOKEN_CALLS_MAX,
)
from productsearch_engine.store.app_keys import AppKeys, WrongSecretError
from tests.console.conftest import PASSWORD, Shop
from tests.console.person import Person


def copy_of(person: Person) -> Person:
    """Return who has a copy of somebody's cookies."""
    thief = Person(person.url)
    thief.session.cookies.update(person.session.cookies)
    thief.token = person.token
    return thief


def test_sign_out_ends_copies_too(engine: Engine, shop: Shop) -> None:
    """A copied cookie is of no use after its owner has signed out; other sessions go on."""
    thief = copy_of(shop.editor)
    elsewhere = Person(engine.url)
    assert 303 == elsewhere.sign_in(f"edit-{shop.name.removeprefix('shop-')}", PASSWORD).status_code
    assert 200 == thief.get("/console/").status_code
    assert 303 == shop.editor.send("/console/sign-out").status_code
    assert 303 == thief.get("/console/").status_code
    assert 401 == thief.send("/console/delete", {"sign": "1,2"}).status_code
    assert 200 == elsewhere.get("/console/").status_code


def test_sign_out_on_all_devices(engine: Engine, shop: Shop) -> None:
    """All of a person's sessions end, nobody else's, and they can sign in again."""
    name = f"edit-{shop.name.removeprefix('shop-')}"
    devices = [Person(engine.url) for _ in range(2)]
    for each in devices:
        assert 303 == each.sign_in(name, PASSWORD).status_code
    assert 'name="everywhere" value="1"' in devices[0].get("/console/library").text
    devices[0].send("/console/sign-out", {"everywhere": "1"})
    assert [303] * 3 == [each.get("/console/").status_code for each in (*devices, shop.editor)]
    assert 200 == shop.looker.get("/console/").status_code
    assert 303 == devices[0].sign_in(name, PASSWORD).status_code
    assert 200 == devices[0].get("/console/").status_code


def test_a_session_of_the_key_before_ends_with_it(
    engine: Engine, shop: Shop, pool: ConnectionPool
) -> None:
    """While an old secret key serves beside the new one it signs in, and makes no new key."""
    with pool.connection() as connection:
        row = connection.execute(
            "select app_id from libraries where name = %s", [shop.name]
        ).fetchone()
    assert row
    new = AppKeys(pool).rotate(row[0], 3600)
    late, owner = Person(engine.url), Person(engine.url)
    assert 303 == late.sign_in(*shop.keys).status_code
    assert 303 == owner.sign_in(shop.keys[0], new).status_code
    assert 200 == late.get("/console/library").status_code
    assert 403 == late.send("/console/library/rotate", {"sure": "1"}).status_code
    assert "new secret key was made" not in owner.get("/console/changes").text
    # Of two sessions that make a new one at the same time, the second knows the key of before.
    with pool.connection() as connection:
        known = connection.execute("select secret_digest from apps where id = %s", [row[0]])
        (digest,) = known.fetchone() or ()
    with pytest.raises(WrongSecretError):
        AppKeys(pool).rotate(row[0], 0, hashlib.sha256(shop.keys[1].encode()).digest())
    with pool.connection() as connection:
        known = connection.execute("select secret_digest from apps where id = %s", [row[0]])
        assert (digest,) == known.fetchone()
        connection.execute("update apps set old_until = now() where id = %s", [row[0]])
    assert 303 == late.get("/console/library").status_code
    assert 200 == owner.get("/console/library").status_code


def request_with(cookie: str = "") -> Request:
    """Return a request with a cookie."""
    scope = {"type": "http", "scheme": "http", "path": "/", "query_string": b"", "server": ("a", 1)}
    return Request({**scope, "headers": [(b"cookie", cookie.encode())]})


@pytest.mark.parametrize(
    ("ahead_s", "known"), [(CLOCKS_APART_S - 5, True), (CLOCKS_APART_S + 5, False)]
)
def test_a_clock_that_is_ahead(
    ahead_s: float, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that another engine has begun, whose clock is ahead, is one here, too."""
    response, now_s = Response(), time.time()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now_s + ahead_s)
        Sessions(b"key").begin(request_with(), response, app_id=1, name="n", stamp="s")
    cookie = response.headers["set-cookie"].partition(";")[0]
    assert known == (Sessions(b"key").read(request_with(cookie)) is not None)


def test_no_nonce_is_a_person() -> None:
    """Nobody has the token of a person's forms shown to them by a nonce of their own."""
    person = '"1\\000a name\\00016 characters ...."'
    request = request_with(f"productsearch_console_form={person}")
    assert "\0" in request.cookies["productsearch_console_form"]
    assert "\0" not in Sessions(b"key").nonce(request)


def test_a_network_is_counted_as_one() -> None:
    """Whoever has an IPv6 address has 2^64 of them: their tries are counted together."""
    attempts = Attempts()
    codes = [
        attempts.take(counted_as(f"2001:db8:1:2::{number:x}"), SIGN_IN_TRIES)
        for number in range(1, SIGN_IN_TRIES + 2)
    ]
    assert [True] * SIGN_IN_TRIES + [False] == codes
    assert attempts.take(counted_as("2001:db8:1:3::1"), SIGN_IN_TRIES)
    assert "198.51.100.7" == counted_as("::ffff:198.51.100.7") == counted_as("198.51.100.7")
    assert "" == counted_as("")


def test_strangers_lock_nobody_out(engine: Engine, shop: Shop) -> None:
    """Who has signed in with a browser can do so again, whatever strangers try at their address."""
    name = f"edit-{shop.name.removeprefix('shop-')}"
    stranger, new = Person(engine.url), Person(engine.url)
    for each in (stranger, new):
        each.session.headers["X-Forwarded-For"] = shop.editor.session.headers["X-Forwarded-For"]
    codes = [stranger.sign_in(name, "wrong").status_code for _ in range(SIGN_IN_TRIES + 1)]
    assert [401] * SIGN_IN_TRIES + [429] == codes
    assert 429 == new.sign_in(name, PASSWORD).status_code
    shop.editor.send("/console/sign-out")
    assert 303 == shop.editor.sign_in(name, PASSWORD).status_code
    # What this browser itself tries, or tries for another name, counts as before.
    assert 429 == shop.editor.sign_in("somebody-else", PASSWORD).status_code
    codes = [shop.editor.sign_in(name, "wrong").status_code for _ in range(SIGN_IN_TRIES + 1)]
    assert [401] * SIGN_IN_TRIES + [429] == codes


def test_places() -> None:
    """One key has a few of them, all together a bounded number, and each is given back."""
    places = Places(3, 2)
    for _ in range(2):
        with ExitStack() as stack:
            taken = [stack.enter_context(places.take(key)) for key in "aaabb"]
        assert [True, True, False, True, False] == taken


def test_silent_strangers_hold_nobody_up(engine: Engine, shop: Shop) -> None:
    """However many forms never come, others sign in, and what they wrote is kept for them."""
    name = f"edit-{shop.name.removeprefix('shop-')}"
    place = urlsplit(engine.url)
    assert place.hostname
    assert place.port
    with ExitStack() as stack:
        for path, count in (("sign-in", TOKEN_CALLS_MAX), ("undo", RESENT_OF_ADDRESS + 4)):
            for _ in range(count):
                silent = stack.enter_context(
                    socket.create_connection((place.hostname, place.port), timeout=10)
                )
                head = (
                    f"POST /console/{path} HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n"
                    "Content-Type: application/x-www-form-urlencoded\r\n\r\nname="
                )
                silent.sendall(head.encode())
        time.sleep(0.3)
        assert 303 == Person(engine.url).sign_in(name, PASSWORD).status_code
        kept = Person(engine.url).send("/console/images/1,2", {"brief": "precious words"})
        assert (401, True) == (kept.status_code, "precious words" in kept.text)
