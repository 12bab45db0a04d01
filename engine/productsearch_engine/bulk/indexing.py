"""What surrounds the load of a library: the right to do it alone, and the index of the vectors.

Knows when an index is worth to be dropped. Does not know rows.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from productsearch_engine.bulk.progress import Bar, duration
from productsearch_engine.database.pool import WatchedPool
from productsearch_engine.limits import INDEX_REBUILT_ROWS_MIN, INDEX_REBUILT_SHARE
from productsearch_engine.settings import Settings
from productsearch_engine.store.bulk_index import BulkIndex
from productsearch_engine.store.libraries import Libraries, Library, LibraryError
from productsearch_engine.store.reembeddings import Reembeddings

_WAIT_S = 10.0
"""How long an import waits for one that was killed: PostgreSQL notices within a second."""


@contextmanager
def alone(pool: WatchedPool, library: Library) -> Iterator[None]:
    """Hold the right to load a library; one that was just killed gives it back soon."""
    ends_s = time.monotonic() + _WAIT_S
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(Reembeddings(pool).alone(library))
                break
            except LibraryError:
                if time.monotonic() > ends_s:
                    raise
                time.sleep(0.5)
        yield


@contextmanager
def indexing(chosen: Settings, pool: WatchedPool, library: Library, rows: int) -> Iterator[None]:
    """Drop the index of the vectors if that is quicker, and build what is missing at the end.

    It is built also after an error, so that the library can be searched as before.
    """
    index = BulkIndex(pool)
    new = max(rows, INDEX_REBUILT_ROWS_MIN)
    if rows >= new and library.image_count <= INDEX_REBUILT_SHARE * new:
        index.drop(library)
    try:
        yield
    finally:
        if index.is_dropped(library):
            _build(chosen, pool, library)
    index.analyze(library)


def _build(chosen: Settings, pool: WatchedPool, library: Library) -> None:
    index = BulkIndex(pool)
    built = threading.Event()

    def watch() -> None:
        total = Libraries(pool).named(library.name).image_count
        bar = Bar(f"index of {library.name}", total)
        while not built.wait(1):
            bar(min(index.built(library), total - 1))
        bar.end()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began_s = time.monotonic()
    try:
        index.build(library, _helpers(chosen))
    finally:
        built.set()
        watcher.join()
    print(f"index built in {duration(time.monotonic() - began_s)}", file=sys.stderr)


def _helpers(chosen: Settings) -> int:
    """Return how many processes may help to build an index.

    They share its memory by /dev/shm, which is 64 MB in many containers; of another machine it is
    not known.
    """
    if chosen.database:
        return 0
    try:
        free = shutil.disk_usage("/dev/shm").free  # noqa: S108 - it is looked at, not written
    except OSError:
        return 0
    return max(0, (os.cpu_count() or 1) - 1) if free >= 4 << 30 else 0
