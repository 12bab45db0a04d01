"""A library in use while its embedding is changed: calls, what the database has, a kill."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from demo.processes import Engine
from tests.engine.calling import Caller, code_of
from tests.engine.databases import connected
from tests.pictures import jpeg

FROM, TO = "classic-1", "compact-3"


@contextmanager
def library(engine: Engine, name: str) -> Iterator[Caller]:
    """Create a library and yield its caller."""
    caller = Caller(engine.url, *engine.create_library(name))
    yield caller
    caller.close()


def fill(caller: Caller, count: int, first: int = 0) -> list[str]:
    """Add images and return their signs."""
    return [
        caller.call("add", image=jpeg(seed), brief=str(seed))["cont_sign"]
        for seed in range(first, first + count)
    ]


def listed(engine: Engine, name: str) -> dict[str, Any]:
    """Return what ``library list`` says of a library."""
    libraries = json.loads(engine.command("library", "list", "--json"))
    return next(each for each in libraries if each["name"] == name)


def rows(engine: Engine, statement: str, *values: object) -> list[Any]:
    """Return the rows of a statement in the engine's database."""
    with connected(engine) as connection:
        return connection.execute(statement, values).fetchall()  # type: ignore[arg-type]


class Use:
    """Searches and adds without a pause, each from a thread, until stopped; counts failures."""

    def __init__(self, engine: Engine, caller: Caller, first: int):
        self.calls = 0
        self.failures: list[Any] = []
        self.added: list[tuple[int, str]] = []
        self._stopped = threading.Event()
        self._first = first
        self._threads = [
            threading.Thread(
                target=work, args=(Caller(engine.url, caller.api_key, caller.secret_key),)
            )
            for work in (self._search, self._add)
        ]

    def __enter__(self) -> Use:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _search(self, caller: Caller) -> None:
        number = 0
        while not self._stopped.is_set():
            answer = _called(caller, "search", image=jpeg(number % 20), rn="3")
            scores = [hit["score"] for hit in answer.get("result", ())]
            self._note(answer, code_of(answer) == 0 and scores[:1] == [1.0])
            number += 1
            time.sleep(0.02)
        caller.close()

    def _add(self, caller: Caller) -> None:
        seed = self._first
        while not self._stopped.is_set():
            answer = _called(caller, "add", image=jpeg(seed), brief=str(seed))
            self._note(answer, code_of(answer) == 0)
            if "cont_sign" in answer:
                self.added.append((seed, answer["cont_sign"]))
            seed += 1
            time.sleep(0.3)
        caller.close()

    def _note(self, answer: Any, well: bool) -> None:
        self.calls += 1
        if not well:
            self.failures.append(answer)


def _called(caller: Caller, method: str, **fields: Any) -> dict[str, Any]:
    """Return the answer; one that did not come, or is none, is an error too, and not the end."""
    try:
        return caller.call(method, **fields)
    except (requests.RequestException, AssertionError, ValueError) as error:
        return {"error_code": -1, "error_msg": repr(error)}


def kill_in_the_middle(engine: Engine, name: str, number: int) -> int:
    """Kill a reembed when some of its vectors are stored; return how many are."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "productsearch_engine",
            "reembed",
            name,
            "--embedding",
            TO,
            "--data",
            str(engine.data),
        ],
        stdout=subprocess.DEVNULL,
    )
    done = 0
    while not done and process.poll() is None:
        time.sleep(0.02)
        if rows(engine, "select to_regclass(%s) is not null", f"reembedding_{number}")[0][0]:
            done = rows(engine, f"select count(*) from reembedding_{number}")[0][0]
    process.kill()
    process.wait()
    time.sleep(0.5)  # the database ends what the process had begun
    return int(rows(engine, f"select count(*) from reembedding_{number}")[0][0])
