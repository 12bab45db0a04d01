"""A database that stands still: how soon it is known, and how soon it is mended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import requests

from demo.processes import Engine
from tests.engine.calling import Caller, code_of
from tests.engine.databases import children, postmaster
from tests.engine.image_files import jpeg
from tests.soak.measures import Measure, at_most, equal

_ROUNDS: Final = 5
_PATIENCE_S: Final = 90


def measures() -> Iterator[Measure]:
    """Stop PostgreSQL several times; then leave it stopped."""
    known, calls, wrong = [], [], 0
    with Engine() as engine:
        caller = Caller(engine.url, *engine.create_library("abused"))
        wrong += code_of(caller.call("add", image=jpeg(1), brief="x")) != 0
        for _ in range(_ROUNDS):
            processes = _stop(engine)
            known.append(_seconds(lambda: _health(engine) == 503))
            began = time.monotonic()
            wrong += caller.ask_token().status_code != 500
            wrong += code_of(caller.call("search", image=jpeg(1))) != 2
            calls.append((time.monotonic() - began) / 2)
            for process in processes:
                os.kill(process, signal.SIGCONT)
            _seconds(lambda: code_of(caller.call("search", image=jpeg(1))) == 0)
        before = postmaster(engine)
        _stop(engine)
        restarted = _seconds(lambda: _restarted(engine, before))
        wrong += code_of(caller.call("add", image=jpeg(1), brief="x")) != 216681
        caller.close()
    yield at_most("database stopped: known after, s", max(known), 2.0)
    yield at_most("database stopped: a call after that, s", max(calls), 0.5)
    yield at_most("database wedged: started again after, s", restarted, 30)
    yield equal("database: undocumented answers", wrong, 0)


def _stop(engine: Engine) -> list[int]:
    server = postmaster(engine)
    processes = [server, *children(server)]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    return processes


def _health(engine: Engine) -> int:
    return requests.get(engine.url + "/healthz", timeout=30).status_code


def _restarted(engine: Engine, before: int) -> bool:
    with suppress(OSError, IndexError):
        return postmaster(engine) != before and _health(engine) == 200
    return False


def _seconds(reached: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not reached() and time.monotonic() - began < _PATIENCE_S:
        time.sleep(0.02)
    return time.monotonic() - began
