"""Lets a running engine complete the tables that searches find candidates in.

Knows when to look. ``store.nearest_builds`` knows what is to be done.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg_pool import PoolTimeout

from productsearch_engine.database.cause import words_of
from productsearch_engine.limits import NEAREST_LOOK_S
from productsearch_engine.store.nearest_builds import NearestBuilds

_log = logging.getLogger(__name__)


@contextmanager
def completing(builds: NearestBuilds, every_s: float = NEAREST_LOOK_S) -> Iterator[None]:
    """Look at once, and again and again until the context ends; calls are served meanwhile."""
    stopped = threading.Event()

    def run() -> None:
        while True:
            try:
                builds.look(stopped.is_set)
            except (psycopg.Error, PoolTimeout) as error:
                _log.warning("tables of prefixes were not completed: %s", words_of(error))
            if stopped.wait(every_s):
                return

    thread = threading.Thread(target=run, name="nearest tables", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        while thread.is_alive():
            builds.interrupt()
            thread.join(0.5)
