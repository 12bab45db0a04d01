"""Bodies that do not come, and connections without number: what others feel of them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

from demo.processes import Engine
from tests.engine.calling import CALLS, Caller, code_of
from tests.engine.image_files import jpeg
from tests.soak.measures import Measure, at_most, equal

_STALLED: Final = 100
_SEARCHES: Final = 100
_DESCRIPTORS: Final = 160
_CONNECTIONS: Final = 400
_SECONDS: Final = 20


def measures() -> Iterator[Measure]:
    """Stall bodies of one app beside searches of another; then run out of descriptors."""
    with Engine() as engine:
        greedy = Caller(engine.url, *engine.create_library("greedy"))
        polite = Caller(engine.url, *engine.create_library("polite"))
        idle, wrong = _search(polite)
        with ExitStack() as opened:
            head = (
                f"POST {CALLS}add?access_token={greedy.token} HTTP/1.1\r\nHost: x\r\n"
                "Content-Length: 4200000\r\n\r\nimage=AAAA"
            ).encode()
            for _ in range(_STALLED):
                _connected(engine, opened).sendall(head)
            busy, more = _search(polite)
            wrong += more
        greedy.close()
        polite.close()
    yield at_most("bodies that do not come: another app's p99, times idle", busy / idle, 3)
    yield equal("bodies that do not come: another app's errors", wrong, 0)
    yield from _descriptors()


def _search(caller: Caller) -> tuple[float, int]:
    """Search a while; return the 99th percentile in seconds, and how many failed."""
    seconds, wrong = [], 0
    for _ in range(_SEARCHES):
        began = time.perf_counter()
        wrong += code_of(caller.call("search", image=jpeg(1))) != 0
        seconds.append(time.perf_counter() - began)
    return sorted(seconds)[int(0.99 * (len(seconds) - 1))], wrong


def _descriptors() -> Iterator[Measure]:
    engine = Engine()
    engine.run_by("prlimit", f"--nofile={_DESCRIPTORS}:{_DESCRIPTORS}")
    with engine, ExitStack() as opened:
        caller = Caller(engine.url, *engine.create_library("crowded"))
        before = len(engine.log())
        for _ in range(_CONNECTIONS):
            _connected(engine, opened)
        ends, wrong = time.monotonic() + _SECONDS, 0
        while time.monotonic() < ends:
            caller.close()  # the next call opens a new connection
            wrong += code_of(caller.call("search", image=jpeg(1))) != 0
        log = engine.log()[before:]
        trouble = [line for line in log.splitlines() if '"method":' not in line]
    yield at_most("few descriptors: lines of trouble a second", len(trouble) / _SECONDS, 2)
    yield equal("few descriptors: failed calls of a caller who connects anew", wrong, 0)


def _connected(engine: Engine, opened: ExitStack) -> socket.socket:
    host, port = engine.url.removeprefix("http://").split(":")
    return opened.enter_context(socket.create_connection((host, int(port)), 60))
