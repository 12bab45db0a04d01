"""The states of pool, database and libraries, as Prometheus is told them.

Those of the pool and of the watch are read when it asks. What takes SQL is looked at now and then
by a thread, so that a scrape never waits for the database.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from psycopg_pool import PoolTimeout

from productsearch_engine.database import inspection
from productsearch_engine.database.inspection import Facts
from productsearch_engine.database.pool import WatchedPool
from productsearch_engine.limits import STATES_LIBRARIES_MAX, STATES_LOOK_S
from productsearch_engine.metrics import PREFIX
from productsearch_engine.server.repeating import repeating

_log = logging.getLogger(__name__)


class DatabaseStates(Collector):
    """What ``look`` found last, and the states of the pool."""

    def __init__(self, pool: WatchedPool):
        self._pool = pool
        self._facts: Facts | None = None

    def look(self) -> None:
        """Ask the database. Raises psycopg.Error, PoolTimeout."""
        with self._pool.connection() as connection:
            self._facts = inspection.gather(connection)

    def collect(self) -> Iterator[Metric]:
        watch, stats = self._pool.watch, self._pool.get_stats()
        yield _one("database_up", "The database answers.", not watch.is_down)
        yield _one("disk_full", "Adds are refused for want of room.", watch.disk_is_full())
        most, opened = stats["pool_max"], stats["pool_size"]
        yield _one("pool_connections", "Connections to the database.", opened)
        yield _one("pool_connections_limit", "At most.", most)
        yield _one("pool_idle", "Connections that nobody uses.", stats["pool_available"])
        yield _one("pool_waiting", "Calls that wait for one.", stats["requests_waiting"])
        if self._facts is not None:
            yield from _of_facts(self._facts)


def _of_facts(facts: Facts) -> Iterator[Metric]:
    yield _one("database_connections", "Of all engines and others.", facts.connections)
    yield _one("transaction_age", "Transactions since the oldest one.", facts.transaction_age)
    yield _one("dead_rows", "Rows that vacuum has not removed, of tables with many.",
               sum(dead for _, dead in facts.dead.values()))  # fmt: skip
    valid = [each.valid for each in facts.indexes]
    yield _one("indexes_invalid", "Indexes that searches cannot use.", valid.count(False))
    nearest = sum(each.size_bytes for each in facts.indexes if each.nearest)
    yield _one("nearest_index_bytes", "Size of the indexes of vectors.", nearest)
    yield _one("reembeddings", "Changes of embedding under way.", len(facts.reembedding))
    images = _family("library_images", "Images stored.", "library")
    room = _family("library_capacity", "Images that there is room for.", "library")
    indexed = _family("library_indexed", "Its vectors have a valid index.", "library")
    for each in facts.libraries[:STATES_LIBRARIES_MAX]:
        images.add_metric([each.name], each.image_count)
        room.add_metric([each.name], each.capacity)
        indexed.add_metric([each.name], each.indexed)
    yield from (images, room, indexed)


def _one(name: str, says: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, says, float(value))


def _family(name: str, says: str, label: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, says, labels=[label])


@contextmanager
def looking(pool: WatchedPool, every_s: float = STATES_LOOK_S) -> Iterator[DatabaseStates]:
    """Yield states that are looked at in a thread, now and again, until the context ends."""
    states = DatabaseStates(pool)

    def look() -> None:
        try:
            states.look()
        except (psycopg.Error, PoolTimeout):
            # Whoever watches the database tells the cause; what was seen before is kept.
            _log.debug("the states of the database could not be read")

    with repeating(look, "database states", every_s, at_once=True):
        yield states
