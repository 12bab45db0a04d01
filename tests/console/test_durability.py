"""Changes of hundreds of images: all or nothing when the engine is killed, and undone exactly."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from psycopg_pool import ConnectionPool

from demo.processes import Engine
from productsearch_engine.limits import SELECTION_MAX
from tests.console import many
from tests.console.conftest import Shop
from tests.console.person import Person, change_of, signs_of
from tests.engine.calling import Caller
from tests.engine.databases import connected, one_postgresql, postmaster
from tests.engine.image_files import jpeg

KILLS = 8
LIBRARY = "killed"
SEED = os.environ.get("SEED", "20")


@one_postgresql
def test_undo_of_500(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """A delete of 500 images frees their room, and its undo brings back every column of each."""
    kept = shop.add(jpeg(1), "stays")
    with pool.connection() as connection:
        many.multiply(connection, shop.name, 500)
        before = many.stored(connection, shop.name)
    chosen = [("sign", sign) for sign in before if sign != kept]
    deleted = shop.editor.send("/console/delete", chosen)
    with pool.connection() as connection:
        assert [kept] == [*many.stored(connection, shop.name)]
        assert 1 == many.counted(connection, shop.name)
    undone = shop.editor.send("/console/undo", {"change": change_of(deleted)})
    assert "told=undone" in undone.headers["location"]
    with pool.connection() as connection:
        assert before == many.stored(connection, shop.name)
        assert 501 == many.counted(connection, shop.name)
    assert [kept] == signs_of(shop.editor.get("/console/?sort=oldest"))[:1]
    assert 300 == shop.caller.call("search", image=jpeg(1))["result_num"]


@pytest.fixture
def own_engine() -> Iterator[Engine]:
    """An engine that the test may kill."""
    with Engine() as running:
        yield running


@pytest.mark.slow
def test_kill_in_a_bulk_change(own_engine: Engine) -> None:
    """Killed at any moment of a change of 1,000 images: all of it is there, or nothing.

    What was told to be done is done. The journal has the change if and only if the images do, so
    it can be undone.
    """
    keys = own_engine.create_library(LIBRARY)
    caller = Caller(own_engine.url, *keys)
    caller.call("add", image=jpeg(1), brief="b")
    caller.close()
    editor = Person(own_engine.url)
    editor.sign_in(*keys)
    with connected(own_engine) as connection:
        many.multiply(connection, LIBRARY, SELECTION_MAX - 1)
        chosen = [("sign", sign) for sign in many.stored(connection, LIBRARY)]
    forms = [
        ("edit", "/console/edit/apply", [*chosen, ("brief_do", "set"), ("brief", "edited")]),
        ("delete", "/console/delete", chosen),
    ]
    takes_s = [_timed_s(editor, address, fields) for _, address, fields in forms]
    moments, happened = random.Random(SEED), 0
    print(f"seed: {SEED}")
    for number in range(KILLS):
        kind, address, fields = forms[number % 2]
        before, known = _seen(own_engine)
        # More of them early: once PostgreSQL has the statement, it ends it without the engine.
        after_s = 1.2 * takes_s[number % 2] * moments.random() ** 4
        told = _killed(own_engine, editor, address, fields, after_s, all_of_it=number % 3 == 2)
        after, entries = _seen(own_engine)
        print(f"{kind}: killed after {after_s:.3f} s, told {told}, there {entries != known}")
        if entries == known:
            assert not told
            assert before == after
            continue
        happened += 1
        assert [*known, (kind, len(before), len(before))] == entries
        expected = dict.fromkeys(before, b"edited") if kind == "edit" else {}
        assert expected == {sign: row[1] for sign, row in after.items()}
        _undo(own_engine, editor)
        assert before == _seen(own_engine)[0]
    assert 0 < happened < KILLS, "every kill came too early, or too late"


def _timed_s(editor: Person, address: str, fields: list[tuple[str, str]]) -> float:
    """Return how long a change takes that nobody kills; it is undone."""
    began_s = time.monotonic()
    done = editor.send(address, fields)
    took_s = time.monotonic() - began_s
    assert 303 == editor.send("/console/undo", {"change": change_of(done)}).status_code
    return took_s


def _undo(engine: Engine, editor: Person) -> None:
    """Undo the last change."""
    with connected(engine) as connection:
        change = many.last_change(connection, LIBRARY)
    assert 303 == editor.send("/console/undo", {"change": str(change)}).status_code


def _seen(engine: Engine) -> tuple[dict[str, Any], list[tuple[str, int, int]]]:
    """Return images and changes, once nothing that a killed engine began is under way."""
    with connected(engine) as connection, connection.transaction():
        connection.execute("lock table images in share mode")
        images = many.stored(connection, LIBRARY)
        assert len(images) == many.counted(connection, LIBRARY)
        return images, many.changes(connection, LIBRARY)


def _killed(
    engine: Engine,
    editor: Person,
    address: str,
    fields: list[tuple[str, str]],
    after_s: float,
    *,
    all_of_it: bool,
) -> bool:
    """Send a form, kill the engine meanwhile and start it; return whether it had said done.

    ``all_of_it``: PostgreSQL is killed, too.
    """
    statuses: list[int] = []

    def send() -> None:
        with contextlib.suppress(requests.RequestException):
            statuses.append(editor.send(address, fields).status_code)

    sender = threading.Thread(target=send)
    sender.start()
    time.sleep(after_s)
    engine.kill()
    if all_of_it:
        os.kill(postmaster(engine), signal.SIGKILL)
    sender.join()
    engine.start()
    editor.url = engine.url
    return statuses == [303]
