"""Other sites, other libraries and hostile texts get nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path

import pytest
import requests

from demo.processes import Engine
from tests.console.conftest import PASSWORD, Shop
from tests.console.person import Person, change_of, signs_of
from tests.engine.image_files import jpeg

TEMPLATES = Path(__file__).resolve().parents[2] / "engine/productsearch_engine/console/templates"
PAGES = (
    *("/console/library", "/console/", "/console/search", "/console/pins", "/console/doubles"),
    *("/console/add", "/console/changes", "/console/compare"),
)
EDITS = (
    *("/console/delete", "/console/edit", "/console/edit/apply", "/console/undo", "/console/add"),
    *("/console/pins", "/console/pins/remove", "/console/pins/undo", "/console/doubles"),
    *("/console/library/grow", "/console/library/rotate"),
)
TAGS = {
    *("html", "head", "meta", "title", "link", "script", "body", "header", "main", "nav", "div"),
    "aside",
    *(
        "a",
        "h1",
        "h2",
        "h3",
        "p",
        "span",
        "small",
        "b",
        "i",
        "em",
        "img",
        "ul",
        "li",
        "code",
        "pre",
    ),
    *("form", "label", "input", "button", "textarea", "select", "option", "output", "datalist"),
    *("optgroup", "del", "ins", "text"),
    *("fieldset", "legend", "progress", "meter", "details", "summary", "section", "figure"),
    *(
        "ol",
        "svg",
        "path",
        "figcaption",
        "dl",
        "dt",
        "dd",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "time",
    ),
}
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    '{"<b>name": "</textarea><script>alert(1)</script>"}',
    "{{ 7*7 }}{% raw %}",
    "javascript:alert(1)",
    "</title><script>alert(1)</script>",
)


def test_every_answer_has_the_policy(engine: Engine, shop: Shop) -> None:
    """Pages, images, static files, errors and redirects: no inline code, no foreign resource."""
    sign = shop.add(jpeg(1))
    static = re.findall(r'(?:href|src)="(/console/static/[^"]+)"', shop.editor.get(PAGES[0]).text)
    assert 5 == len({*static})
    addresses = (*PAGES, *static, f"/console/images/{sign}", f"/console/thumbnails/{sign}.webp")
    answers = [shop.editor.get(each) for each in (*addresses, "/console/nothing", "/console")]
    answers += [Person(engine.url).get(each) for each in ("/console/", "/console/sign-in")]
    answers.append(shop.editor.send("/console/delete"))
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none';")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert "nosniff" == answer.headers["x-content-type-options"]


def test_templates_have_no_code_in_them() -> None:
    """No handler, no style, no script of its own, nothing unescaped, nothing from elsewhere."""
    for path in TEMPLATES.glob("*.html"):
        text = path.read_text("utf-8")
        assert not re.search(r"\son[a-z]+=", text), path
        assert " style=" not in text, path
        assert "<style" not in text, path
        assert not re.search(r"<script(?! src=\"\{\{ asset)", text), path
        assert "|safe" not in text.replace(" ", ""), path
        assert "//" not in text.replace('placeholder="https://"', ""), path


@pytest.mark.parametrize(
    "address",
    [
        *(*EDITS, "/console/images/1,2", "/console/search"),
        *("/console/compare/library", "/console/compare/leave"),
    ],
)
def test_forms_of_other_sites_are_refused(shared_shop: Shop, address: str) -> None:
    """Without the token, with another's, or by a foreign origin a form does nothing."""
    shop = shared_shop
    sign = shop.add(jpeg(1))
    fields = {"sign": sign, "change": "1", "url": "http://example.com/a.jpg"}
    assert (
        403 == shop.editor.send(address, fields, headers={"Origin": "http://evil.test"}).status_code
    )
    assert 403 == shop.editor.send(address, fields, headers={"Origin": "null"}).status_code
    for site in ("cross-site", "same-site"):
        headers = {"Sec-Fetch-Site": site}
        assert 403 == shop.editor.send(address, fields, headers=headers).status_code
    for token in ("", "0" * 64, shop.looker.token, "é"):
        shop.editor.token, own = token, shop.editor.token
        assert 403 == shop.editor.send(address, fields).status_code
        shop.editor.token = own
    assert sign in signs_of(shop.editor.get("/console/"))


@pytest.mark.parametrize("address", [*EDITS, "/console/images/SIGN"])
def test_who_may_look_may_not_edit(shared_shop: Shop, address: str) -> None:
    """Each form that changes something is refused, and no page offers one."""
    shop = shared_shop
    sign = shop.add(jpeg(2), "before")
    answer = shop.looker.send(
        address.replace("SIGN", sign), {"sign": sign, "change": "1", "brief": "x", "version": "0"}
    )
    assert 403 == answer.status_code
    assert "may look" in answer.text
    page = shop.looker.get(f"/console/images/{sign}")
    assert "before" in page.text
    assert "<textarea" not in page.text
    assert "/console/delete" not in page.text + shop.looker.get("/console/").text
    assert 403 == shop.looker.get("/console/add").status_code


def test_nobody_gets_anything_unsigned(engine: Engine, shop: Shop) -> None:
    """Without a session pages lead to the sign-in, images and forms are 401."""
    sign, stranger = shop.add(jpeg(1)), Person(engine.url)
    for address in (*PAGES, f"/console/images/{sign}"):
        answer = stranger.get(address)
        assert 303 == answer.status_code
        assert answer.headers["location"].startswith("/console/sign-in?back=")
    for address in (f"/console/thumbnails/{sign}.webp", f"/console/copies/{sign}.webp"):
        assert 401 == stranger.get(address).status_code
    for address in EDITS:
        assert 401 == stranger.send(address, {"sign": sign}).status_code


def test_another_library_is_out_of_reach(new_shop: Callable[..., Shop]) -> None:
    """A session sees, finds, changes and undoes its own library's images only."""
    one, other = new_shop(), new_shop()
    sign = one.add(jpeg(1), "secret brief")
    thief = other.editor
    for address in (f"/console/images/{sign}", f"/console/search?like={sign}"):
        answer = thief.get(address)
        assert 404 == answer.status_code
        assert "secret" not in answer.text
    assert b"RIFF" == one.editor.get(f"/console/thumbnails/{sign}.webp").content[:4]
    for kind in ("thumbnails", "copies"):
        answer = thief.get(f"/console/{kind}/{sign}.webp")
        assert 303 == answer.status_code
        assert "no-copy.svg" in answer.headers["location"]
    assert 404 == thief.send("/console/delete", {"sign": sign}).status_code
    assert 404 == thief.send("/console/edit", {"sign": sign}).status_code
    apply = {"sign": sign, "brief_do": "set", "brief": "x"}
    assert 404 == thief.send("/console/edit/apply", apply).status_code
    done = one.editor.send("/console/delete", {"sign": sign}).headers["location"].split("=")[-1]
    assert 409 == thief.send("/console/undo", {"change": done}).status_code
    assert "deleted" not in thief.get(f"/console/?done={done}").text
    asked = one.editor.send("/console/search", files={"image": ("a", jpeg(1))})
    query = asked.headers["location"]
    assert 200 == one.editor.get(query).status_code
    assert 404 == thief.get(query).status_code
    digest = query.partition("query=")[2]
    assert 404 == thief.get(f"/console/queries/{digest}.webp").status_code
    assert b"RIFF" == one.editor.get(f"/console/queries/{digest}.webp").content[:4]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_only_texts(shared_shop: Shop, text: str) -> None:
    """In a brief, a file's name, a filter and an address: shown as written, never as markup."""
    shop = shared_shop
    sign = shop.add(jpeg(100 + HOSTILE.index(text)), text)
    beside = {"name": shop.looker_name, "password": PASSWORD}
    assert 303 == shop.editor.send("/console/compare/library", beside).status_code
    preview = {"sign": sign, "brief_do": "member", "key": text, "value": text, "preview": "1"}
    written = {"sign": sign, "brief_do": "set", "brief": f"{text} "}
    edited = shop.editor.send("/console/edit/apply", written)
    compared = {"like": sign, "with": text, "url": text, "least": text}
    pages = [
        shop.editor.get("/console/compare", params=compared),
        shop.editor.send("/console/compare/library", {"name": text, "password": text}),
        shop.editor.get("/console/"),
        shop.editor.get(f"/console/images/{sign}"),
        shop.editor.get(f"/console/search?like={sign}"),
        shop.editor.send("/console/edit", {"sign": sign}),
        shop.editor.send("/console/edit", preview),
        shop.editor.send("/console/edit", preview | {"brief_do": "set", "brief": text * 2}),
        shop.editor.get("/console/changes"),
        shop.editor.get(f"/console/changes/{change_of(edited)}"),
        shop.editor.get("/console/", params={"text": text, "since": text, "sort": text}),
        shop.editor.get("/console/search", params={"class_id1": text, "least": text}),
        shop.editor.get("/console/" + requests.utils.quote(text)),
        shop.editor.send("/console/add", {"brief": text}, files={"image": (text, b"no image")}),
        shop.editor.send("/console/search", {"url": text}),
        shop.editor.send(f"/console/images/{sign}", {"brief": text * 20, "class_id1": text}),
        Person(shop.caller.url).send("/console/sign-in", {"name": text, "password": text}),
    ]
    for page in pages:
        assert page.status_code < 500
        checked = Checked()
        checked.feed(page.text)
        assert checked.elements > 10
        assert [] == checked.wrong


class Checked(HTMLParser):
    """Collects what a page of the console never has."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note handlers, styles, addresses out of the console, and scripts of the page's own."""
        self.elements += 1
        known = dict(attrs)
        if tag == "script" and not (known.get("src") or "").startswith("/console/static/"):
            self.wrong.append(tag)
        for name, value in attrs:
            led = name in ("href", "src", "action", "formaction")
            if name.startswith("on") or name == "style":
                self.wrong.append(f"{tag} {name}")
            if led and not (value or "").startswith(("/console/", "#")):
                self.wrong.append(f"{tag} {name}={value}")
        if tag not in TAGS:
            self.wrong.append(tag)


def test_no_way_leads_out(engine: Engine, shared_shop: Shop) -> None:
    """Whatever an address says, one comes back to the console."""
    person = Person(engine.url)
    name = shared_shop.name.replace("shop", "look")
    for back in ("//evil.test/", "https://evil.test/", "/console\\evil", "/other", "/console/\n"):
        answer = person.sign_in(name, PASSWORD, back)
        assert "/console/" == answer.headers["location"]
        chosen = person.get("/console/language/zh", params={"back": back})
        assert "/console/" == chosen.headers["location"]


def test_broken_requests_are_refused(shared_shop: Shop) -> None:
    """Forms of no form, too many fields, too many bytes: 4xx, and the console goes on."""
    editor = shared_shop.editor
    url = editor.url + "/console/edit"
    session = editor.session
    for body, kind in (
        (b"\xff\xfe=%", "application/x-www-form-urlencoded"),
        (b"token=%FF", "application/x-www-form-urlencoded"),
        (b"&".join(b"sign=1,2" for _ in range(1200)), "application/x-www-form-urlencoded"),
        (
            b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb",
            "multipart/form-data; boundary=x",
        ),
        (b"", "multipart/form-data"),
        (b"{}", "application/json"),
    ):
        headers = {"Content-Type": kind}
        answer = session.post(url, data=body, headers=headers, timeout=60, allow_redirects=False)
        assert answer.status_code in (400, 403), (body[:40], kind)
    files = {"image": ("a", bytes(17 << 20))}
    with suppress(requests.ConnectionError):  # refused before all of it was sent
        assert 413 == editor.send("/console/add", files=files).status_code
    assert 200 == editor.get("/console/").status_code
