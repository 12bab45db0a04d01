"""What surrounds the load of a library: the right to do it alone, and the index of the vectors.

Knows when an index is worth to be dropped. Does not know rows.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from productsearch_engine.database import tuning
from productsearch_engine.database.pool import WatchedPool
from productsearch_engine.limits import (
    INDEX_REBUILT_ROWS_MIN,
    INDEX_REBUILT_SHARE,
)
from productsearch_engine.progress import Bar, duration
from productsearch_engine.settings import Settings
from productsearch_engine.store import rights
from productsearch_engine.store.bulk_index import BulkIndex
from productsearch_engine.store.libraries import Libraries, Library, LibraryError
from productsearch_engine.store.rows import Row

_WAITS = (
    "the index of {!r} waits until transactions that began before it have ended, such as an export,"
    " a copy or a backup"
)
_WAIT_S = 10.0
"""How long an import waits for one that was killed: PostgreSQL notices within a second."""

_MEMORY_OF_ONE = 32 << 20
"""PostgreSQL sends no helper that would have less."""

_SHARED_LEFT = 64 << 20
"""What an index leaves to searches that share memory."""

_ROW_BYTES = 400
"""What a row takes beside its vector, its copy and its brief."""

_WRITTEN = 2
"""What is stored is written to PostgreSQL's log as well."""


@contextmanager
def alone(pool: WatchedPool, library: Library) -> Iterator[Callable[[], None]]:
    """Hold the right to load a library; one that was just killed gives it back soon.

    Yields a function that raises LibraryError once it is lost.
    """
    ends_s = time.monotonic() + _WAIT_S
    with ExitStack() as stack:
        while True:
            try:
                require = stack.enter_context(rights.alone(pool, library))
                break
            except LibraryError:
                if time.monotonic() > ends_s:
                    raise
                time.sleep(0.5)
        yield require


@contextmanager
def indexing(chosen: Settings, pool: WatchedPool, library: Library, rows: int) -> Iterator[None]:
    """Drop the index of the vectors if that is quicker, and build what is missing at the end.

    rows: about how many will be added.
    It is built also after an error, so that the library can be searched as before, but not on a
    disk that it would fill: PostgreSQL would stop, for all libraries.
    """
    index = BulkIndex(pool)
    new = max(rows, INDEX_REBUILT_ROWS_MIN)
    is_quicker = rows >= new and library.image_count <= INDEX_REBUILT_SHARE * new
    # An index that there would be no room for again stays.
    if is_quicker and not pool.watch.shortage(_WRITTEN * index.memory_bytes(library)):
        index.drop(library)
    try:
        yield
    finally:
        if index.is_dropped(library):
            if shortage := pool.watch.shortage(_WRITTEN * index.memory_bytes(library)):
                told = "%s: the index of %s waits for its next import, and searches read all of it"
                print(told % (shortage, library.name), file=sys.stderr)
            else:
                build(chosen, pool, library)
    index.analyze(library)


def shortage_of(pool: WatchedPool, library: Library) -> Callable[[list[Row]], str | None]:
    """Return a function that says why there is no room for some rows, or nothing if there is.

    Nor for the index of what is stored, if that waits to be built.
    """
    index = BulkIndex(pool)

    def shortage(rows: list[Row]) -> str | None:
        size = sum(len(row.vector) + len(row.copy or b"") + len(row.brief) for row in rows)
        size += _ROW_BYTES * len(rows)
        if index.is_dropped(library):
            size += index.memory_bytes(library)
        return pool.watch.shortage(_WRITTEN * size)

    return shortage


def build(chosen: Settings, pool: WatchedPool, library: Library) -> None:
    """Build the index that was dropped, with what the machine has for it; tell how far it is."""
    index = BulkIndex(pool)
    built = threading.Event()
    now = Libraries(pool).current(library) or library

    def watch() -> None:
        bar, vectors, told = Bar(f"index of {now.name}", now.image_count), 0, False
        while not built.wait(1):
            done = index.built(library)
            vectors = max(vectors, done.vectors)  # it is counted anew while the index is checked
            bar(min(vectors, now.image_count - 1))
            if done.waits and not told:
                told = True
                print(_WAITS.format(now.name), file=sys.stderr, flush=True)
        bar.end()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began_s = time.monotonic()
    try:
        index.build(library, *means(chosen, index.memory_bytes(library)))
    finally:
        built.set()
        watcher.join()
    print(f"index built in {duration(time.monotonic() - began_s)}", file=sys.stderr)


def means(chosen: Settings, needed_bytes: int) -> tuple[int, int | None]:
    """Return how many processes may help to build an index, and the memory for all of them.

    None: as PostgreSQL is set, because it is on a machine that is not known. The processes share
    the memory by /dev/shm, which is 64 MB in many containers.
    """
    if chosen.database:
        return 0, None
    helpers = tuning.cores() - 1
    memory = min(needed_bytes, tuning.index_memory_bytes(chosen))
    memory = max(memory, _MEMORY_OF_ONE * (helpers + 1))
    try:
        free = shutil.disk_usage("/dev/shm").free  # noqa: S108 - it is looked at, not written
    except OSError:
        free = 0
    return helpers if free >= memory + _SHARED_LEFT else 0, memory
