"""Two searches side by side: of two libraries, of two embeddings; and who may see the second."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from demo.processes import Engine
from productsearch_engine.console.compare import Join, joined
from productsearch_engine.store.users import Users
from tests.console.conftest import PASSWORD, Shop
from tests.console.person import Person
from tests.engine.databases import one_postgresql
from tests.engine.image_files import jpeg

Shops = Callable[..., Shop]


def columns(person: Person, address: str) -> list[list[str]]:
    """Return the images of each column of a comparison, as their copies' addresses name them."""
    page = person.get(address)
    assert 200 == page.status_code, page.text
    sections = page.text.partition('class="compared"')[2].split("<section")[1:]
    return [re.findall(r"/(\d+,\d+)\.webp", section) for section in sections]


def found(shop: Shop, image: bytes) -> list[str]:
    """Return what a call finds."""
    return [hit["cont_sign"] for hit in shop.caller.call("search", image=image)["result"]]


def test_two_libraries(new_shop: Shops) -> None:
    """Each column is what a call to that library finds; lines join images and equal briefs."""
    one, two = new_shop(), new_shop()
    for n in range(4):
        one.add(jpeg(n), f"b{n}")
        # The last has another file in the other library, and the same brief.
        two.add(jpeg(n if n < 3 else 9), f"b{n}")
    person = one.looker
    asked = person.send("/console/search", files={"image": ("a.jpg", jpeg(0))})
    address = asked.headers["location"].replace("/search?", "/compare?")
    assert [] == columns(person, address)
    look = two.looker_name
    fields = {"name": look, "password": PASSWORD, "back": address}
    assert address == person.send("/console/compare/library", fields).headers["location"]
    left, right = columns(person, address)
    assert (found(one, jpeg(0)), found(two, jpeg(0))) == (left, right)
    assert 4 == len(re.findall("<path ", person.get(address).text))
    assert re.search(rf"/console/beside/{right[-1]}\.webp", person.get(address).text)
    only = next(sign for sign in right if sign not in left)
    assert 200 == person.get(f"/console/beside/{only}.webp").status_code
    # It is to look at results only: no page of the other library opens.
    assert 404 == person.get(f"/console/images/{only}").status_code
    assert 404 == person.get(f"/console/search?like={only}").status_code
    assert 404 == one.editor.get(f"/console/beside/{only}.webp").status_code
    assert 303 == person.send("/console/compare/leave").status_code
    assert [] == columns(person, address)
    assert 404 == person.get(f"/console/beside/{only}.webp").status_code


def test_the_other_library_asks_for_a_password(
    shared_shop: Shop, new_shop: Shops, engine: Engine, pool: ConnectionPool[Any]
) -> None:
    """A wrong one is refused and counts; the access ends with its user, and with signing out."""
    person = Person(engine.url)
    assert 303 == person.sign_in(*shared_shop.keys).status_code
    gone = {"name": "nobody", "password": "no", "back": "/console/compare?query=00"}
    assert 401 == shared_shop.looker.send("/console/compare/library", gone).status_code
    for n in range(12):
        fields = {"name": "nobody", "password": "no", "back": "/console/compare?class_id1=7"}
        refused = person.send("/console/compare/library", fields)
        assert (401 if n < 10 else 429) == refused.status_code
        # On the page itself, beside the fields; the name and where it leads back to stay.
        form = refused.text.partition('action="/console/compare/library"')[2]
        assert 2 == form.count('aria-describedby="why-refused" aria-invalid="true"')
        why = form.partition('id="why-refused"')[2].partition("</p>")[0]
        assert ("do not match" if n < 10 else "Too many tries") in why
        assert 'name="name" value="nobody"' in form
        assert 'name="back" value="/console/compare?class_id1=7"' in form
    other = Person(engine.url)
    assert 303 == other.sign_in(*shared_shop.keys).status_code
    beside = new_shop()
    fields = {"name": beside.looker_name, "password": PASSWORD}
    assert 303 == other.send("/console/compare/library", fields).status_code
    assert f"Leave {beside.name}" in other.get("/console/compare").text
    Users(pool).remove(beside.looker_name)
    assert f"Leave {beside.name}" not in other.get("/console/compare").text


def test_one_kind_of_session_is_not_the_other(shared_shop: Shop, engine: Engine) -> None:
    """The cookie of the library beside opens no page, under whatever name it is sent."""
    person = Person(engine.url)
    person.sign_in(*shared_shop.keys)
    fields = {"name": shared_shop.keys[0], "password": shared_shop.keys[1]}
    assert 303 == person.send("/console/compare/library", fields).status_code
    cookies = person.session.cookies.get_dict()
    session, beside = "productsearch_console", "productsearch_console_beside"
    assert {session, beside} <= {*cookies}
    thief = Person(engine.url)
    for value, status in ((cookies[beside], 303), (cookies[session], 200)):
        answer = thief.get("/console/", cookies={session: value})
        assert status == answer.status_code
    assert 303 == person.send("/console/sign-out").status_code
    assert not {session, beside} & {*person.session.cookies.get_dict()}


@pytest.mark.parametrize("empty", ["left", "right", "both"])
def test_an_empty_side_says_why(new_shop: Shops, empty: str) -> None:
    """A list without images names its own reason, and no rank is told where there is none."""
    one, two = new_shop(), new_shop()
    for side, shop in (("left", one), ("right", two)):
        if empty not in (side, "both"):
            shop.add(jpeg(1), class_id1="5")
    person = one.looker
    asked = person.send("/console/search", files={"image": ("a.jpg", jpeg(0))})
    address = asked.headers["location"].replace("/search?", "/compare?")
    fields = {"name": two.looker_name, "password": PASSWORD}
    assert 303 == person.send("/console/compare/library", fields).status_code
    page = person.get(address).text
    assert (2 if empty == "both" else 1) == page.count("This library is empty")
    assert "similar enough" not in page
    assert "of the first" not in page
    assert ("Both lists are empty" if empty == "both" else "One list is empty") in page
    page = person.get(f"{address}&class_id1=6").text
    assert (0 if empty == "both" else 1) == page.count("No image has these class ids.")


@pytest.mark.slow
@one_postgresql
def test_two_embeddings(shop: Shop, engine: Engine) -> None:
    """What the next embedding finds is what searches find once it serves."""
    known = [shop.add(jpeg(n), f"b{n}", class_id1=str(1 + n % 2)) for n in range(6)]
    address = f"/console/compare?like={known[0]}"
    engine.command("reembed", shop.name, "--embedding", "compact-1", "--no-switch")
    serving, following = columns(shop.looker, address)
    filtered = columns(shop.looker, address + "&class_id1=1")[1]
    assert sorted(known) == sorted(serving) == sorted(following)
    assert sorted(known[::2]) == sorted(filtered)
    engine.command("reembed", shop.name, "--embedding", "compact-1")
    assert following == columns(shop.looker, address)[0]
    assert "Embedding before" in shop.looker.get(address).text


def test_joins_are_of_equal_images_first() -> None:
    """An image is joined to itself, also if a better rank has its brief; each has one line."""

    class Some:
        def __init__(self, sign: str, brief: str):
            self.sign, self.brief = sign, brief

    left = [Some("a", "x"), Some("b", "y"), Some("c", ""), Some("d", "x")]
    right = [Some("e", "x"), Some("a", "other"), Some("f", ""), Some("d", "x")]
    assert [(0, 1), (3, 3)] == [(each.left, each.right) for each in joined(left, right)]  # type: ignore[arg-type]
    assert "M0 32C50 32 50 104 100 104" == Join(left=0, right=1).path
