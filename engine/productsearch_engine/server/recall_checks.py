"""Repeats sampled searches exactly while the engine is idle, and counts what they missed.

``store.recall`` knows how to repeat one.
"""

from __future__ import annotations

from productsearch_engine.database.pool import WatchedPool
from productsearch_engine.limits import STATES_LIBRARIES_MAX
from productsearch_engine.metrics import Metrics
from productsearch_engine.store.recall import RecallSample


class Names:
    """Bounds the libraries that metrics name: the first so many that are counted."""

    def __init__(self, most: int):
        self._most = most
        self._known: set[str] = set()

    def label(self, library: str) -> str:
        """Return the library's name, or an empty one that all further libraries share."""
        if len(self._known) < self._most:
            self._known.add(library)
        return library if library in self._known else ""


class RecallChecks:
    """Compares a sampled search at a time, if no call of this engine uses the database."""

    def __init__(self, sample: RecallSample, pool: WatchedPool, metrics: Metrics):
        self._sample = sample
        self._pool = pool
        self._metrics = metrics
        self._names = Names(STATES_LIBRARIES_MAX)

    def look(self) -> None:
        """Repeat a search exactly, if there is one and time. Raises psycopg.Error, PoolTimeout."""
        compared = self._sample.compare() if self._is_idle() else None
        if compared is not None:
            library = self._names.label(compared.library.name)
            self._metrics.recall(library, compared.found, compared.wanted)

    def _is_idle(self) -> bool:
        stats = self._pool.get_stats()
        return not stats["requests_waiting"] and stats["pool_available"] == stats["pool_size"]
