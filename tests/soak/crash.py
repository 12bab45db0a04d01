"""Servers are killed with SIGKILL at random points, and what was acknowledged is there.

The facade, before an upstream that keeps a journal; the engine and its PostgreSQL, behind a
facade. Callers do what the README tells them: they repeat an add with KEEP until it is
acknowledged. And many callers add the same picture at the same moment.
"""

from __future__ import annotations

import io
import os
import random
import signal
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
from PIL import Image

from demo.facade import Facade
from demo.processes import Engine
from productsearch import v1
from productsearch_service.server import Server
from productsearch_service.settings import Settings
from tests.engine.databases import connected, postmaster
from tests.fakes.cutting import CuttingUpstream, sign_of
from tests.ports import free_port
from tests.soak.measures import Measure

_CALLERS: Final = 6
_ENGINE_CALLERS: Final = 4
_CALL_S: Final = 5.0
_AGAIN_S: Final = 0.05
_GIVE_UP_S: Final = 120.0
"""A caller that hears no acknowledgement for so long reports that as a failure."""
_KEEP: Final = v1.DuplicatePolicy.DUPLICATE_POLICY_KEEP
_KEPT: Final = v1.AddOutcome.ADD_OUTCOME_KEPT
_CREATED: Final = v1.AddOutcome.ADD_OUTCOME_CREATED
# Left alone, gRPC waits longer and longer before it connects again, up to two minutes.
_RECONNECT: Final = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
)
_VICTIMS: Final = ("engine and postgres", "postgres and engine", "postgres", "engine")

Reply = TypeVar("Reply")


@dataclass(frozen=True)
class Size:
    """How many adds and kills of the facade, kills of the engine, identical adds."""

    adds: int
    facade_kills: int
    engine_kills: int
    identical_adds: int = 64


FULL: Final = Size(10_000, 200, 30)
SMALL: Final = Size(300, 20, 2)


def run(size: Size, seed: int) -> list[Measure]:
    """Kill the facade, then the engine and PostgreSQL; return the lines of the report."""
    measures = kill_the_facade(size.adds, size.facade_kills, random.Random(seed))
    with Engine(listen=f"127.0.0.1:{free_port()}") as engine:
        measures += kill_the_engine(engine, size.engine_kills, random.Random(seed))
        measures += add_at_once(engine, size.identical_adds)
    return measures


@lru_cache(maxsize=1)
def _blank_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (300, 300)).save(buffer, "JPEG", quality=1)
    return buffer.getvalue()


def numbered_jpeg(number: int) -> bytes:
    """Return a small valid JPEG; another number, which is in a comment, makes another file."""
    blank = _blank_jpeg()
    return blank[:2] + b"\xff\xfe\x00\x0a" + number.to_bytes(8, "big") + blank[2:]


@dataclass
class Acknowledged:
    """What callers were told for certain. Thread-safe as far as it is used."""

    signs: dict[int, str] = field(default_factory=dict)
    """Sign by number of the picture."""
    outcomes: Counter[int] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    changed: threading.Condition = field(default_factory=threading.Condition)
    count: int = 0

    def note(self, number: int, reply: v1.AddImageResponse) -> None:
        """Keep the acknowledgement of an add."""
        with self.changed:
            self.signs[number] = reply.cont_sign
            self.outcomes[reply.outcome] += 1
        self.note_one()

    def note_one(self) -> None:
        """Count an acknowledgement."""
        with self.changed:
            self.count += 1
            self.changed.notify_all()

    def wait_for(self, count: int) -> bool:
        """Wait for that many acknowledgements; False if they do not come."""
        with self.changed:
            return self.changed.wait_for(lambda: self.count >= count, _GIVE_UP_S)

    def until(self, call: Callable[[], Reply]) -> Reply:
        """Repeat a call until it succeeds and return its reply; raise TimeoutError in the end."""
        ends_s = time.monotonic() + _GIVE_UP_S
        while True:
            try:
                return call()
            except grpc.RpcError as failure:
                with self.changed:
                    self.refused[failure.code().name] += 1
                if time.monotonic() > ends_s:
                    raise TimeoutError(failure.code().name) from failure
                time.sleep(v1.retry_delay_of(failure) or _AGAIN_S)


def _add(stub: v1.ProductSearchStub, picture: bytes, brief: str) -> v1.AddImageResponse:
    new_image = v1.NewImage(image=v1.ImageSource(content=picture), brief=brief)
    request = v1.AddImageRequest(new_image=new_image, duplicate_policy=_KEEP)
    return stub.AddImage(request, timeout=_CALL_S)


def kill_the_facade(adds: int, kills: int, chance: random.Random) -> list[Measure]:
    """Kill the facade process while callers add numbered pictures; start it on the same port."""
    points = sorted(chance.sample(range(1, adds - 2 * _CALLERS), kills))
    numbers = iter(range(adds))
    told, turn = Acknowledged(), threading.Lock()
    with tempfile.TemporaryDirectory() as data, CuttingUpstream() as upstream:
        listen = f"127.0.0.1:{free_port()}"
        pair = {"default": ("the-api-key", "the-secret-key")}
        with Facade(Path(data), upstream.url, pair, listen=listen) as facade:

            def call_on() -> None:
                with v1.connect(listen, options=_RECONNECT) as channel:
                    stub = v1.ProductSearchStub(channel)
                    while True:
                        with turn:
                            number = next(numbers, None)
                        if number is None:
                            return
                        picture, brief = numbered_jpeg(number), str(number)
                        told.note(number, told.until(lambda: _add(stub, picture, brief)))  # noqa: B023 - called at once

            with ThreadPoolExecutor(_CALLERS) as pool:
                callers = [pool.submit(call_on) for _ in range(_CALLERS)]
                killed = sum(_kill_facade(facade, told, point, chance) for point in points)
                stuck = sum(caller.exception() is not None for caller in callers)
        return _facade_measures(told, upstream, adds, killed, kills, stuck)


def _kill_facade(facade: Facade, told: Acknowledged, point: int, chance: random.Random) -> bool:
    if not told.wait_for(point):
        return False
    time.sleep(chance.uniform(0, 0.02))
    facade.kill()
    facade.start()
    return True


def _facade_measures(
    told: Acknowledged,
    upstream: CuttingUpstream,
    adds: int,
    killed: int,
    kills: int,
    stuck: int,
) -> list[Measure]:
    stored = Counter(sign for e in upstream.journal if e.method == "add" for sign in e.changed)
    lost = [
        number
        for number, sign in told.signs.items()
        if sign != sign_of(numbered_jpeg(number)) or upstream.stored.get(sign) != str(number)
    ]
    print(f"facade kills: calls that failed {dict(told.refused)}")
    return [
        Measure(name="adds acknowledged", value=len(told.signs), relation="==", bar=adds),
        Measure(name="kills of the facade", value=killed, relation=">=", bar=kills),
        Measure(name="acknowledged adds lost", value=len(lost), relation="==", bar=0),
        Measure(name="stored twice", value=_extra(stored), relation="==", bar=0),
        Measure(
            name="stored without an acknowledgement",
            value=len(stored.keys() - set(told.signs.values())),
            relation="==",
            bar=0,
        ),
        # Carried out, the facade killed before it could say so: else no kill was hard.
        Measure(
            name="acknowledgements that a kill swallowed",
            value=told.outcomes[_KEPT],
            relation=">=",
            bar=1,
        ),
        Measure(name="callers without an answer", value=stuck, relation="==", bar=0),
    ]


def _extra(stored: Counter[str]) -> int:
    return sum(stored.values()) - len(stored)


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
    """Kill engine, PostgreSQL or both while callers add, update and delete pictures."""
    told, over = Acknowledged(), threading.Event()
    with _before(engine, "killed") as stub, ThreadPoolExecutor(_ENGINE_CALLERS) as pool:
        callers = [
            pool.submit(_change_on, stub, number, random.Random(chance.random()), told, over)
            for number in range(_ENGINE_CALLERS)
        ]
        try:
            killed = 0
            while killed < kills and told.wait_for(told.count + chance.randrange(5, 25)):
                victims = _VICTIMS[killed % len(_VICTIMS)]
                time.sleep(chance.uniform(0, 0.1))
                _kill(engine, victims)
                killed += 1
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
    return _engine_measures(expected, found, killed, kills, len([f for f in failed if f]))


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
        picture, brief = numbered_jpeg(number), f"first {number}"
        reply = told.until(lambda: _add(stub, picture, brief))  # noqa: B023 - called at once
        told.note(number, reply)
        sign = reply.cont_sign
        expected[sign] = brief
        ref = v1.ImageRef(cont_sign=sign)
        if chance.random() < 0.4:
            update = v1.UpdateImageRequest(image_ref=ref, brief=f"second {number}")
            told.until(lambda: stub.UpdateImage(update, timeout=_CALL_S))  # noqa: B023 - the same
            told.note_one()
            expected[sign] = f"second {number}"
        if chance.random() < 0.3:
            delete = v1.DeleteImageRequest(image_ref=ref, allow_missing=True)
            told.until(lambda: stub.DeleteImage(delete, timeout=_CALL_S))  # noqa: B023 - the same
            told.note_one()
            expected[sign] = None
    return expected


def _kill(engine: Engine, victims: str) -> None:
    for victim in victims.split(" and "):
        if victim == "engine":
            engine.kill()
        else:
            _kill_postgres(postmaster(engine))
    if "engine" in victims:
        engine.start()


def _kill_postgres(postmaster_id: int) -> None:
    """Kill the postmaster and each of its processes before any of them can write more."""
    for process_id in (postmaster_id, *_children(postmaster_id)):
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
    print(f"engine kills: pictures {len(present)}, deleted {len(expected) - len(present)}")
    return [
        Measure(name="kills of engine and PostgreSQL", value=killed, relation=">=", bar=kills),
        Measure(name="engine: acknowledged adds lost", value=len(lost), relation="==", bar=0),
        Measure(name="engine: acknowledged updates lost", value=len(stale), relation="==", bar=0),
        Measure(name="engine: acknowledged deletes lost", value=len(back), relation="==", bar=0),
        Measure(name="engine: stored twice", value=len(found) - len(briefs), relation="==", bar=0),
        Measure(name="engine: callers that gave up", value=gave_up, relation="==", bar=0),
    ]


def add_at_once(engine: Engine, callers: int) -> list[Measure]:
    """Add one picture from many callers at the same moment."""
    told, together = Acknowledged(), threading.Barrier(callers)
    with _before(engine, "at-once") as stub, ThreadPoolExecutor(callers) as pool:

        def add(number: int) -> None:
            together.wait()
            reply = told.until(lambda: _add(stub, numbered_jpeg(1), str(number)))
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
