"""The engine killed amid a merge, at each of its steps: it is done as a whole, or not begun."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest
import requests

from demo.processes import Engine
from productsearch_engine.store import signs
from tests.console import many
from tests.console.person import Person, change_of
from tests.engine.calling import Caller
from tests.engine.databases import connected, postmaster
from tests.engine.image_files import jpeg

LIBRARY = "merged"
WAIT_S = 60.0

# What a merge waits for when somebody else has it, in the order of its steps.
STEPS: dict[str, LiteralString] = {
    "both images are locked": "select from images where sign = %(kept)s for update",
    "the change begins": "lock table changes in share mode",
    "values are taken over": "lock table changed_images in share mode",
    "the other image is deleted": "lock table kept_images in share mode",
    "the library counts": "select from libraries where name = %(library)s for no key update",
}


@pytest.fixture
def own_engine() -> Iterator[Engine]:
    """An engine that the test may kill."""
    with Engine() as running:
        yield running


@pytest.mark.slow
def test_kill_in_a_merge(own_engine: Engine) -> None:
    """Nothing is half done, and whoever merges again merges both."""
    keys = own_engine.create_library(LIBRARY)
    caller = Caller(own_engine.url, *keys)
    # Of the kept one nothing is known: the merge edits it, and deletes the other one.
    kept = caller.call("add", image=jpeg(1), brief=" ")["cont_sign"]
    dropped = caller.call("add", image=jpeg(2), brief="of the other", class_id1="5")["cont_sign"]
    caller.close()
    editor = Person(own_engine.url)
    editor.sign_in(*keys)
    fields = {"keep": kept, "drop": dropped, "back": "/console/doubles"}
    values = {"kept": signs.from_text(kept.encode()), "library": LIBRARY}
    before = _seen(own_engine)
    for number, (step, lock) in enumerate(STEPS.items()):
        # Every other time PostgreSQL is killed as well.
        told = _killed_while_it_waits(own_engine, editor, fields, lock, values, bool(number % 2))
        assert ([], before) == (told, _seen(own_engine)), step
    done = editor.send("/console/doubles", fields)
    own_engine.kill()
    own_engine.start()
    editor.url = own_engine.url
    images, counted, entries = _seen(own_engine)
    assert ([kept], 1, [("merge", 2, 2)]) == ([*images], counted, entries)
    assert (b"of the other", 5) == images[kept][1:3]
    assert 303 == editor.send("/console/undo", {"change": change_of(done)}).status_code
    assert before[:2] == _seen(own_engine)[:2]


def _seen(engine: Engine) -> tuple[dict[str, Any], int, list[tuple[str, int, int]]]:
    """Return images, their number and changes, once nothing of a killed engine is under way."""
    with connected(engine) as connection, connection.transaction():
        connection.execute("lock table images in access exclusive mode")
        return (
            many.stored(connection, LIBRARY),
            many.counted(connection, LIBRARY),
            many.changes(connection, LIBRARY),
        )


def _killed_while_it_waits(
    engine: Engine,
    editor: Person,
    fields: dict[str, str],
    lock: LiteralString,
    values: dict[str, Any],
    all_of_it: bool,
) -> list[int]:
    """Send a merge, kill the engine where it waits for a lock, start it; return what was told."""
    told: list[int] = []

    def send() -> None:
        with contextlib.suppress(requests.RequestException):
            told.append(editor.send("/console/doubles", fields).status_code)

    sender = threading.Thread(target=send)
    with connected(engine) as connection, contextlib.suppress(psycopg.OperationalError):
        connection.execute("begin")
        connection.execute(lock, values)
        sender.start()
        with connected(engine) as watching:
            _until_something_waits(watching)
        engine.kill()
        if all_of_it:
            os.kill(postmaster(engine), signal.SIGKILL)
        sender.join()
        connection.execute("rollback")
    engine.start()
    editor.url = engine.url
    return told


def _until_something_waits(connection: psycopg.Connection[Any]) -> None:
    end_s = time.monotonic() + WAIT_S
    while time.monotonic() < end_s:
        row = connection.execute("select count(*) from pg_locks where not granted").fetchone()
        if row and row[0]:
            return
        time.sleep(0.02)
    raise AssertionError("the merge waits for nothing: it has not this step")
