"""The engine, its workers and its PostgreSQL are killed at random points, behind a live facade."""

from __future__ import annotations

import os
import random
import signal
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from demo.processes import Engine
from productsearch import v1
from productsearch_service.settings import Settings
from tests.engine.databases import connected, postmaster
from tests.facade import Server
from tests.pictures import numbered_jpeg
from tests.soak.crash_callers import CALL_S, Acknowledged, add_and_keep
from tests.soak.measures import Measure, at_least

_ENGINE_CALLERS: Final = 4
_START_S: Final = 240
"""For a machine that does other things."""
_CREATED: Final = v1.AddOutcome.ADD_OUTCOME_CREATED
_VICTIMS: Final = (
    "engine and postgres",
    "workers",
    "postgres and engine",
    "workers and postgres",
    "engine",
    "workers",
    "postgres",
    "workers and engine",
)


@contextmanager
def _before(engine: Engine, name: str) -> Iterator[v1.ProductSearchStub]:
    """Serve a new library of the engine; the stub's first call has fetched a token."""
    api_key, secret_key = engine.create_library(name)
    library: Any = {"base_url": engine.url, "api_key": api_key, "secret_key": secret_key}
    settings = Settings(
        listen="127.0.0.1:0",
        libraries={"default": library | {"quota_qps": 0}},
        drain_delay_s=0,
        drain_grace_s=1,
    )
    server = Server(settings)
    server.start()
    with v1.connect(f"127.0.0.1:{server.port}") as channel:
        stub = v1.ProductSearchStub(channel)
        stub.SearchImages(v1.SearchImagesRequest(image=v1.ImageSource(content=numbered_jpeg(0))))
        yield stub
    server.stop(threading.Event())


def kill_the_engine(engine: Engine, kills: int, chance: random.Random) -> list[Measure]:
    """Kill engine, workers, PostgreSQL or two of them while callers change images."""
    told, over = Acknowledged(), threading.Event()
    with _before(engine, "killed") as stub, ThreadPoolExecutor(_ENGINE_CALLERS) as pool:
        callers = [
            pool.submit(_change_on, stub, number, random.Random(chance.random()), told, over)
            for number in range(_ENGINE_CALLERS)
        ]
        try:
            killed, killed_workers = 0, 0
            while killed < kills and told.wait_for(told.count + chance.randrange(5, 25)):
                victims = _VICTIMS[killed % len(_VICTIMS)]
                time.sleep(chance.uniform(0, 0.1))
                killed_workers += _kill(engine, victims)
                killed += 1
                if killed % 10 == 0:
                    print(f"engine kills: {killed} of {kills}", flush=True)
            told.wait_for(told.count + _ENGINE_CALLERS)
        finally:
            over.set()
        failed = [caller.exception() for caller in callers]
        for gave_up in filter(None, failed):
            print(f"a caller gave up: {gave_up!r}")
        expected: dict[str, str | None] = {}
        for caller, failure in zip(callers, failed, strict=True):
            expected |= {} if failure else caller.result()
        found = _stored(engine, "killed")
    print(f"engine kills: acknowledgements {told.count}, refusals {dict(told.refused)}")
    print(f"engine kills: worker processes killed {killed_workers}")
    gave_up = len([failure for failure in failed if failure])
    return [
        *_engine_measures(expected, found, killed, kills, gave_up),
        # In each round of victims workers are killed four times, and one at least is there.
        at_least("kills of workers", killed_workers, max(1, kills // 4)),
    ]


def _change_on(
    stub: v1.ProductSearchStub,
    caller: int,
    chance: random.Random,
    told: Acknowledged,
    over: threading.Event,
) -> dict[str, str | None]:
    """Add, update and delete until it is over; return each sign's brief, None if deleted."""
    expected: dict[str, str | None] = {}
    number = caller
    while not over.is_set():
        number += _ENGINE_CALLERS
        image, brief = numbered_jpeg(number), f"first {number}"
        reply = told.until(lambda: add_and_keep(stub, image, brief))  # noqa: B023 - called at once
        told.note(number, reply)
        sign = reply.cont_sign
        expected[sign] = brief
        ref = v1.ImageRef(cont_sign=sign)
        if chance.random() < 0.4:
            update = v1.UpdateImageRequest(image_ref=ref, brief=f"second {number}")
            told.until(lambda: stub.UpdateImage(update, timeout=CALL_S))  # noqa: B023 - the same
            told.note_one()
            expected[sign] = f"second {number}"
        if chance.random() < 0.3:
            delete = v1.DeleteImageRequest(image_ref=ref, allow_missing=True)
            told.until(lambda: stub.DeleteImage(delete, timeout=CALL_S))  # noqa: B023 - the same
            told.note_one()
            expected[sign] = None
    return expected


def _kill(engine: Engine, victims: str) -> int:
    """Kill them in this order, start the engine if it was one, and say how many were workers."""
    workers = 0
    for victim in victims.split(" and "):
        if victim == "engine":
            engine.kill()
        elif victim == "workers":
            found = _workers(engine.pid)
            for process_id in found:
                _kill_one(process_id)
            workers += len(found)
        else:
            _kill_postgres(postmaster(engine))
    if "engine" in victims:
        engine.start(_START_S)
    return workers


def _workers(engine_id: int) -> list[int]:
    found = []
    for process_id in _children(engine_id):
        with suppress(OSError):
            command = Path(f"/proc/{process_id}/cmdline").read_bytes().split(b"\0")
            if b"productsearch_engine.workers.process" in command:
                found.append(process_id)
    return found


def _kill_postgres(postmaster_id: int) -> None:
    """Kill the postmaster and each of its processes before any of them can write more."""
    for process_id in (postmaster_id, *_children(postmaster_id)):
        _kill_one(process_id)


def _kill_one(process_id: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process_id, signal.SIGKILL)


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError, ValueError):
            # pid (name) state parent ...; the name may hold blanks and parentheses.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found


def _stored(engine: Engine, library: str) -> list[tuple[str, str]]:
    """Return sign and brief of each row that the database has for a library."""
    query = (
        "select sign, brief from images join libraries on libraries.id = library_id where name = %s"
    )
    with connected(engine) as connection:
        rows = connection.execute(query, [library]).fetchall()
    return [
        ("{},{}".format(*struct.unpack(">II", struct.pack(">q", sign))), bytes(brief).decode())
        for sign, brief in rows
    ]


def _engine_measures(
    expected: dict[str, str | None],
    found: list[tuple[str, str]],
    killed: int,
    kills: int,
    gave_up: int,
) -> list[Measure]:
    briefs = dict(found)
    present = {sign: brief for sign, brief in expected.items() if brief is not None}
    lost = {sign for sign in present if sign not in briefs}
    stale = {s for s, brief in present.items() if s in briefs and briefs[s] != brief}
    back = {sign for sign, brief in expected.items() if brief is None and sign in briefs}
    print(f"engine kills: images {len(present)}, deleted {len(expected) - len(present)}")
    return [
        Measure(
            name="kills of engine, workers and PostgreSQL", value=killed, relation=">=", bar=kills
        ),
        Measure(name="engine: acknowledged adds lost", value=len(lost), relation="==", bar=0),
        Measure(name="engine: acknowledged updates lost", value=len(stale), relation="==", bar=0),
        Measure(name="engine: acknowledged deletes lost", value=len(back), relation="==", bar=0),
        Measure(name="engine: stored twice", value=len(found) - len(briefs), relation="==", bar=0),
        Measure(name="engine: callers that gave up", value=gave_up, relation="==", bar=0),
    ]


def add_at_once(engine: Engine, callers: int) -> list[Measure]:
    """Add one image from many callers at the same moment."""
    told, together = Acknowledged(), threading.Barrier(callers)
    with _before(engine, "at-once") as stub, ThreadPoolExecutor(callers) as pool:

        def add(number: int) -> None:
            together.wait()
            reply = told.until(lambda: add_and_keep(stub, numbered_jpeg(1), str(number)))
            told.note(number, reply)

        for call in [pool.submit(add, number) for number in range(callers)]:
            call.result()
        rows = len(_stored(engine, "at-once"))
    print(f"identical adds: refused for the moment {dict(told.refused)}")
    signs = Counter(told.signs.values())
    return [
        Measure(name="identical adds at once: stored", value=rows, relation="==", bar=1),
        Measure(
            name="identical adds at once: equal signs",
            value=max(signs.values()),
            relation="==",
            bar=callers,
        ),
        Measure(
            name="identical adds at once: told to have created it",
            value=told.outcomes[_CREATED],
            relation="==",
            bar=1,
        ),
    ]
