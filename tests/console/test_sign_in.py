"""Who gets in, who does not, and what the cookies are."""

from __future__ import annotations

import html
import re
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import pytest
from psycopg_pool import ConnectionPool
from starlette.requests import Request
from starlette.responses import Response

from demo.processes import Engine, ServerError
from productsearch_engine.console.session import Sessions
from productsearch_engine.limits import RESENT_BYTES_MAX, SESSION_S, SESSIONS_S, SIGN_IN_TRIES
from productsearch_engine.store.users import Users
from tests.console.conftest import PASSWORD, Shop
from tests.console.person import Person
from tests.engine.image_files import jpeg


def test_nobody_gets_in_without_a_password(engine: Engine, shop: Shop) -> None:
    """A wrong password, an unknown name and another library's secret all tell the same."""
    stranger = Person(engine.url)
    number = shop.name.removeprefix("shop-")
    for name, password in (
        (f"edit-{number}", "wrong"),
        ("nobody", PASSWORD),
        ("", ""),
        ("a\0b", PASSWORD),
        (shop.caller.api_key, "wrong"),
        ("'; drop table users; --", "x"),
    ):
        answer = stranger.sign_in(name, password)
        assert 401 == answer.status_code
        assert "Name and password do not match." in answer.text
    assert "/console/sign-in" in stranger.get("/console/").headers["location"]


def test_the_key_pair_is_a_sign_in(engine: Engine, shop: Shop) -> None:
    """Who has the library's key pair may edit it."""
    owner = Person(engine.url)
    assert 303 == owner.sign_in(shop.caller.api_key, shop.caller.secret_key).status_code
    assert 200 == owner.get("/console/add").status_code
    assert shop.caller.secret_key not in owner.get("/console/").text


def test_many_tries_are_refused(engine: Engine, shop: Shop) -> None:
    """After ten failures an address is refused, with the right password too; others are not."""
    attacker = Person(engine.url)
    name = f"edit-{shop.name.removeprefix('shop-')}"
    codes = [attacker.sign_in(name, "wrong").status_code for _ in range(SIGN_IN_TRIES + 1)]
    assert [401] * SIGN_IN_TRIES + [429] == codes
    assert 429 == attacker.sign_in(name, PASSWORD).status_code
    assert 303 == Person(engine.url).sign_in(name, PASSWORD).status_code


def test_successes_are_not_counted(engine: Engine, shop: Shop) -> None:
    """Somebody who signs in often is not refused."""
    person = Person(engine.url)
    name = f"look-{shop.name.removeprefix('shop-')}"
    for _ in range(SIGN_IN_TRIES + 1):
        assert 303 == person.sign_in(name, PASSWORD).status_code


@pytest.mark.parametrize("https", [True, False])
def test_cookies(engine: Engine, shop: Shop, https: bool) -> None:
    """Each is HttpOnly and SameSite, for the console alone, and Secure under TLS."""
    person = Person(engine.url, https=https)
    page = person.get("/console/sign-in")
    answer = person.session.post(
        engine.url + "/console/sign-in",
        data={
            "name": f"edit-{shop.name.removeprefix('shop-')}",
            "password": PASSWORD,
            "token": page.text.partition('name="token" value="')[2][:64],
        },
        headers={"Cookie": page.headers["set-cookie"].partition(";")[0]},
        allow_redirects=False,
        timeout=60,
    )
    assert 303 == answer.status_code
    for response in (page, answer):
        for cookie in response.raw.headers.getlist("set-cookie"):
            if "Max-Age=0" in cookie:
                continue
            assert "HttpOnly" in cookie
            assert "samesite=lax" in cookie.lower()
            assert "Path=/console" in cookie
            assert https == ("Secure" in cookie)


def test_a_removed_user_is_out(engine: Engine, shop: Shop, pool: ConnectionPool[Any]) -> None:
    """A session ends with its user, and with its password."""
    assert 200 == shop.editor.get("/console/").status_code
    number = shop.name.removeprefix("shop-")
    Users(pool).remove(f"edit-{number}")
    assert 303 == shop.editor.get("/console/").status_code
    assert 401 == shop.editor.send("/console/delete", {"sign": "1,2"}).status_code
    Users(pool).remove(f"look-{number}")
    Users(pool).add(f"look-{number}", library=shop.name, role="look", password_hash="another")
    assert 303 == shop.looker.get("/console/").status_code


def test_a_forged_session_is_none(engine: Engine, shop: Shop) -> None:
    """A cookie with one letter changed, or of nothing, is no session.

    The last letter is left alone: base64 ignores some of its bits, so another letter can mean the
    same signature.
    """
    cookie = shop.editor.session.cookies["productsearch_console"]
    changed = [
        cookie[:place] + ("A" if cookie[place] != "A" else "B") + cookie[place + 1 :]
        for place in (0, len(cookie) // 2, len(cookie) - 2)
    ]
    for forged in ("", "x", cookie[1:], cookie[:-4], *changed):
        stranger = Person(engine.url)
        answer = stranger.get("/console/", headers={"Cookie": f"productsearch_console={forged}"})
        assert 303 == answer.status_code


def test_sign_out(shop: Shop) -> None:
    """Signing out takes the cookie away."""
    assert 303 == shop.looker.send("/console/sign-out").status_code
    assert 303 == shop.looker.get("/console/").status_code


@pytest.mark.slow
def test_commands(engine: Engine, shop: Shop) -> None:
    """``user add`` makes a password that works, ``user list`` shows no hash, ``remove`` ends it."""
    shown = engine.command("user", "add", "ann.b", "--library", shop.name, "--role", "look")
    password = shown.partition("password    ")[2].split("\n")[0]
    assert 303 == Person(engine.url).sign_in("ann.b", password).status_code
    listed = engine.command("user", "list")
    assert "ann.b" in listed
    assert "argon2" not in listed
    with pytest.raises(ServerError, match="exists"):
        engine.command("user", "add", "ann.b", "--library", shop.name, "--role", "look")
    engine.command("user", "remove", "ann.b")
    assert 401 == Person(engine.url).sign_in("ann.b", password).status_code
    with pytest.raises(ServerError, match="no library"):
        engine.command("user", "add", "bob", "--library", "nowhere", "--role", "look")


def test_a_form_outlives_its_session(engine: Engine, shop: Shop) -> None:
    """Who is signed out meanwhile finds what they wrote, and sends it after signing in again."""
    number, sign = shop.name.removeprefix("shop-"), shop.add(jpeg(1), "before")
    address = f"/console/images/{sign}"
    version = re.findall(r'name="version" value="(\d+)"', shop.editor.get(address).text)[0]
    shop.editor.send("/console/sign-out")
    shop.editor.session.headers["Accept-Language"] = "zh-CN"
    wrote = {"brief": 'after "<b>"', "class_id1": "7", "version": version}
    kept = shop.editor.send(address, wrote)
    assert 401 == kept.status_code
    assert '<html lang="zh-CN">' in kept.text
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', kept.text)
    assert wrote.items() <= {name: html.unescape(value) for name, value in fields}.items()
    token = dict(fields)["token"]
    assert 303 == shop.editor.sign_in(f"edit-{number}", PASSWORD).status_code
    shop.editor.token = token
    assert 303 == shop.editor.send(address, wrote).status_code
    assert "after &#34;&lt;b&gt;&#34;" in shop.editor.get(address).text
    # Another person's form stays theirs, and a form of another site is not kept.
    shop.looker.token = token
    assert 403 == shop.looker.send("/console/search/part").status_code
    stranger = Person(engine.url)
    foreign = stranger.send(address, wrote, headers={"Sec-Fetch-Site": "cross-site"})
    assert (401, False) == (foreign.status_code, "after" in foreign.text)
    long = stranger.send(address, {"brief": "x" * RESENT_BYTES_MAX})
    assert (401, False) == (long.status_code, "xxx" in long.text)


def test_a_form_with_files_outlives_its_session(engine: Engine, shop: Shop) -> None:
    """What is written stays, before and after the files; of those the names are told."""
    stranger, number = Person(engine.url), shop.name.removeprefix("shop-")
    large = (RESENT_BYTES_MAX * 3) * b"\r\n--x"
    wrote = {"brief": 'for "<b>"', "class_id1": "7"}
    parts = [("image", ('a"b.jpg', large)), *((name, (None, text)) for name, text in wrote.items())]
    parts.append(("image", ("c.heic", jpeg(1))))
    kept = stranger.send("/console/add", {"token": shop.editor.token}, files=parts)
    assert 401 == kept.status_code
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', kept.text)
    assert wrote.items() <= {name: html.unescape(value) for name, value in fields}.items()
    assert re.findall("<li>(.*?)</li>", kept.text) == ["a&#34;b.jpg", "c.heic"]
    assert "Files are not kept" in kept.text
    # Sent again without them, the page has what was written.
    assert 303 == stranger.sign_in(f"edit-{number}", PASSWORD).status_code
    page = stranger.send("/console/add", wrote)
    assert (400, True) == (page.status_code, "No file was chosen." in page.text)
    assert 'value="for &#34;&lt;b&gt;&#34;"' in page.text
    assert 'name="class_id1" inputmode="numeric" value="7"' in page.text
    other = Person(engine.url)
    long = other.send("/console/add", {"brief": "x" * RESENT_BYTES_MAX}, files=parts)
    assert (401, False) == (long.status_code, "xxx" in long.text)


def test_the_end_of_a_session_is_told(engine: Engine, shop: Shop) -> None:
    """Each page has it, hidden; asking how long a session lasts is no use of it, a page is."""
    page = shop.looker.get("/console/")
    assert 'class="ending"' in page.text
    assert 'href="/console/stay"' in page.text
    left = shop.looker.get("/console/session")
    assert SESSION_S - 600 < int(left.text) <= SESSION_S
    assert "set-cookie" not in left.headers
    assert "no-store" == left.headers["cache-control"]
    assert "You stay signed in" in shop.looker.get("/console/stay").text
    stranger = Person(engine.url)
    assert "0" == stranger.get("/console/session").text
    assert 303 == stranger.get("/console/stay").status_code


def request_with(cookie: str = "") -> Request:
    """Return a request with a cookie."""
    headers = [(b"cookie", cookie.encode())]
    scope = {"type": "http", "scheme": "http", "path": "/", "query_string": b"", "server": ("a", 1)}
    return Request({**scope, "headers": headers})


@pytest.mark.parametrize(
    ("began_before_s", "signed_before_s", "left_s", "can_stay"),
    [
        (0, 0, SESSION_S, True),
        (3 * 3600, 3 * 3600, SESSION_S - 3 * 3600, True),
        (SESSIONS_S - 600, 0, 600, False),
        (SESSIONS_S - SESSION_S - 60, 60, SESSION_S - 60, True),
    ],
)
def test_how_long_a_session_lasts(
    began_before_s: int,
    signed_before_s: int,
    left_s: int,
    can_stay: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twelve hours from its last use, and no longer than seven days."""
    sessions, now_s = Sessions(b"key"), time.time()
    response = Response()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now_s - signed_before_s)
        sessions.begin(request_with(), response, app_id=1, name="n", stamp="s")
    request = request_with(response.headers["set-cookie"].partition(";")[0])
    session = sessions.read(request)
    assert session is not None
    session = replace(session, began=int(now_s) - began_before_s)
    assert abs(left_s - sessions.left_s(request, session)) < 60
    assert can_stay == session.can_stay


def test_a_session_that_is_used_goes_on() -> None:
    """Each page renews it, up to a week after signing in."""
    sessions = Sessions(b"key")

    response = Response()
    sessions.begin(request_with(), response, app_id=1, name="n", stamp="s")
    cookie = response.headers["set-cookie"].partition(";")[0]
    session = sessions.read(request_with(cookie))
    assert session is not None
    for age_s, lasts in ((SESSIONS_S - 60, True), (SESSIONS_S + 1, False)):
        renewed = Response()
        old = replace(session, began=session.began - age_s)
        sessions.go_on(request_with(cookie), renewed, old)
        assert "set-cookie" not in renewed.headers, "it is not an hour old"
        sessions.go_on(request_with(), renewed, old)
        found = sessions.read(request_with(renewed.headers["set-cookie"].partition(";")[0]))
        assert (old if lasts else None) == found


def test_a_password_that_is_no_text(engine: Engine) -> None:
    """Bytes from a pipe that are not UTF-8 are refused with a sentence."""
    command = [sys.executable, "-m", "productsearch_engine", "user", "add", "bytes"]
    done = subprocess.run(
        [*command, "--library", "none", "--role", "look", "--password-stdin"],
        input=b"\xff\xfe" * 8 + b"\n",
        env=engine.environment,
        capture_output=True,
        check=False,
    )
    assert (1, b"productsearch-engine: a password is UTF-8") == (
        done.returncode,
        done.stderr.strip(),
    )
