"""Three engines over one PostgreSQL are killed, and it too, while they are written to.

``kill -9`` of an engine, of PostgreSQL and of single backends at random points of a mixed load. At
the same time a migration is carried out again and again by engines that start, and indexes of
classes are built and dropped. In the end everything acknowledged is there, once, and every count is
exact.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from demo.processes import Engine
from productsearch_engine.store.class_indexes import Bounds, ClassIndexes
from productsearch_engine.store.libraries import Libraries, Library
from productsearch_engine.store.nearest_builds import NearestBuilds
from productsearch_engine.store.statements import ClassFilter
from tests.engine.databases import children, dsn_of, postmaster
from tests.ports import free_port
from tests.soak.measures import Measure, at_least, at_most, equal, report
from tests.soak.replica_rows import IMAGES_OF, stored
from tests.soak.replica_writers import Crowding, Told, Values, Writer

_ENGINES: Final = 3
_WRITERS: Final = 12
_CROWD: Final = 2
_CAPACITY: Final = 40
_MIGRATION: Final = 53
_START_S: Final = 240
_BESIDE_S: Final = 20
_BOUNDS: Final = Bounds(library=0, large=1, searches=1, count_max=2)
_VICTIMS: Final = ("an engine", "postgres", "a backend", "an engine", "a backend")


@dataclass(frozen=True)
class Size:
    """How many writes, and how many kills between them."""

    writes: int
    kills: int


FULL: Final = Size(20_000, 150)
SMALL: Final = Size(200, 5)


def run(size: Size, seed: int = 20261126) -> list[Measure]:
    """Write and kill; return the lines of the report."""
    print(f"seed {seed}", flush=True)
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # it loses connections on purpose
    with _engines() as engines:
        first = engines[0]
        keys = [
            first.create_library("soak", "--embedding", "classic-1"),
            first.create_library("full", "--embedding", "classic-1", "--capacity", str(_CAPACITY)),
        ]
        urls = [engine.url for engine in engines]
        told, killed_all, over = Told(), threading.Event(), threading.Event()
        each = -(-size.writes // _WRITERS)
        writers = [Writer(n, _WRITERS, urls, keys[0], told, seed) for n in range(_WRITERS)]
        crowding = Crowding(urls, keys[1], seed)
        beside = _Beside(dsn_of(first), over)
        with ThreadPoolExecutor(_WRITERS + _CROWD + 3) as threads:
            written = [threads.submit(writer.write, each, killed_all) for writer in writers]
            others = [threads.submit(crowding.run, over) for _ in range(_CROWD)]
            others += [threads.submit(work) for work in (beside.index, beside.migrate, beside.look)]
            try:
                killed = _kill(engines, told, size, random.Random(seed))
            finally:
                killed_all.set()
                gave_up = [failure for done in written if (failure := done.exception())]
                beside.wait()
                over.set()
            for other in others:
                other.result()
        for failure in gave_up:
            print(f"a writer gave up: {failure!r}")
        crowding.fill(_CAPACITY)
        expected: dict[str, Values] = {}
        for writer in writers:
            expected |= writer.expected
        print(f"acknowledged {told.count}, not at once {dict(told.refused)}, killed {dict(killed)}")
        print(f"indexes built {len(beside.built)}, migrations {beside.migrated}")
        for surprise in told.surprises[:10]:
            print(surprise)
        return [
            at_least("kills", killed.total(), size.kills),
            equal("writers that gave up", len(gave_up), 0),
            equal("answers that nothing explains", len(told.surprises), 0),
            *stored(first, expected, _CAPACITY),
            at_least("looks at that library", beside.looks, 1),
            at_most("most images of a library for 40", beside.most, _CAPACITY),
            at_least("indexes of a class that were built meanwhile", len(beside.built), 1),
            at_least("migrations meanwhile", beside.migrated, 1),
        ]


@contextmanager
def _engines() -> Iterator[list[Engine]]:
    """Yield engines with ports of their own over the embedded PostgreSQL of the first."""
    with ExitStack() as stack:
        first = stack.enter_context(Engine(listen=f"127.0.0.1:{free_port()}"))
        shared = {
            "PRODUCTSEARCH_ENGINE_DATABASE": dsn_of(first),
            "PRODUCTSEARCH_ENGINE_SIGNING_KEY_FILE": str(first.data / "signing.key"),
            "PRODUCTSEARCH_ENGINE_DECODERS": "1",
        }
        others = [
            stack.enter_context(Engine(listen=f"127.0.0.1:{free_port()}", environment=shared))
            for _ in range(_ENGINES - 1)
        ]
        yield [first, *others]


def _kill(engines: list[Engine], told: Told, size: Size, chance: random.Random) -> Counter[str]:
    """Kill one of the processes after some more writes, again and again; return how often."""
    killed: Counter[str] = Counter()
    step = max(1, size.writes * 9 // 10 // size.kills)
    while killed.total() < size.kills and told.wait_for(told.count + chance.randrange(step)):
        time.sleep(chance.uniform(0, 0.2))
        victim = _VICTIMS[killed.total() % len(_VICTIMS)]
        if victim == "an engine":
            engine = chance.choice(engines)
            engine.kill()
            engine.start(_START_S)
        elif not _kill_of_database(engines[0], chance, whole=victim == "postgres"):
            continue
        killed[victim] += 1
        if killed.total() % 10 == 0:
            print(f"kills: {killed.total()}, acknowledged {told.count}", flush=True)
    return killed


def _kill_of_database(engine: Engine, chance: random.Random, *, whole: bool) -> bool:
    """Kill PostgreSQL, or one process of it that serves a connection; False if there is none."""
    try:
        process = postmaster(engine)
        found = children(process)
        serving = [child for child in found if _serves(child)]
    except (OSError, psutil.Error):  # it is being started
        return False
    victims = [process, *found] if whole else [chance.choice(serving)] if serving else []
    for victim in victims:
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    return bool(victims)


def _serves(process: int) -> bool:
    return b"[local]" in Path(f"/proc/{process}/cmdline").read_bytes()


class _Beside:
    """What goes on beside the writes until ``over``, each in a thread of its own."""

    def __init__(self, dsn: str, over: threading.Event):
        self._dsn, self._over = dsn, over
        self.built: set[int] = set()
        """The indexes of classes that were seen, by their numbers in PostgreSQL."""
        self.migrated = self.most = self.looks = 0

    def wait(self) -> None:
        """Give both the time that they need on a busy machine, if there were few writes."""
        ends_s = time.monotonic() + _BESIDE_S
        while not (self.built and self.migrated) and time.monotonic() < ends_s:
            time.sleep(0.2)

    def index(self) -> None:
        """Have indexes of classes built; engines drop them, as they are of small classes."""
        with ConnectionPool[Any](
            self._dsn, min_size=1, max_size=3, kwargs={"autocommit": True}, timeout=5, open=True
        ) as pool:
            indexes = ClassIndexes(_BOUNDS)
            builds = NearestBuilds(pool, class_indexes=indexes)
            while not self._over.wait(0.5):
                with suppress(psycopg.Error, PoolTimeout):
                    library = Libraries(pool).named("soak")
                    self._search(pool, indexes, library)
                    builds.look()
                    with pool.connection() as connection:
                        rows = connection.execute(_CLASS_INDEXES, [library.id]).fetchall()
                    self.built |= {row[0] for row in rows}

    def _search(self, pool: ConnectionPool[Any], indexes: ClassIndexes, library: Library) -> None:
        asked = ClassFilter(class_id1=1, class_id2=None, any_class=False)
        with pool.connection() as connection:
            indexes.serves(connection, library, asked, {"class_id1": library.image_count})

    def migrate(self) -> None:
        """Take a migration back, which the next engine that starts carries out again."""
        taken_back = False
        while not self._over.wait(0.5):
            with suppress(psycopg.Error), psycopg.connect(self._dsn, autocommit=True) as connection:
                row = connection.execute(
                    "select count(*) from schema_migrations where version = %s", [_MIGRATION]
                ).fetchone()
                if row == (0,):
                    continue
                self.migrated += taken_back
                taken_back = False
                with connection.transaction():
                    connection.execute("set local lock_timeout = '2s'")
                    connection.execute("drop index images_brief")
                    connection.execute(
                        "delete from schema_migrations where version = %s", [_MIGRATION]
                    )
                taken_back = True

    def look(self) -> None:
        """Look how many images the library has that is always full."""
        while not self._over.wait(0.1):
            with suppress(psycopg.Error), psycopg.connect(self._dsn, autocommit=True) as connection:
                while not self._over.wait(0.05):
                    row = connection.execute(IMAGES_OF, ["full"]).fetchone()
                    self.most = max(self.most, int(row[0]) if row else 0)
                    self.looks += 1


_CLASS_INDEXES: Final = (
    "select indexrelid::bigint from pg_index where indrelid = to_regclass('nearest_' || %s)"
    " and indisvalid and indpred is not null"
)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writes", type=int, default=FULL.writes)
    parser.add_argument("--kills", type=int, default=FULL.kills)
    parser.add_argument("--seed", type=int, default=20261126)
    asked = parser.parse_args()
    sys.exit(report(run(replace(FULL, writes=asked.writes, kills=asked.kills), asked.seed)))
