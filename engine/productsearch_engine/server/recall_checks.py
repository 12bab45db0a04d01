"""Repeats sampled searches exactly while the engine is idle, and counts what they missed.

Knows when. ``store.recall`` knows how.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg_pool import PoolTimeout

from productsearch_engine.database.cause import words_of
from productsearch_engine.database.pool import WatchedPool
from productsearch_engine.limits import RECALL_LOOK_S, RECALL_TIME_SHARE, STATES_LIBRARIES_MAX
from productsearch_engine.metrics import Metrics
from productsearch_engine.server.repeating import repeating
from productsearch_engine.store.recall import RecallSample

_log = logging.getLogger(__name__)


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


@contextmanager
def checking(
    sample: RecallSample, pool: WatchedPool, metrics: Metrics, every_s: float = RECALL_LOOK_S
) -> Iterator[None]:
    """Look again and again until the context ends, at most for a small share of the time."""
    names = Names(STATES_LIBRARIES_MAX)

    def check() -> None:
        if _is_idle(pool):
            _check(sample, metrics, names)

    with repeating(check, "recall checks", every_s, rest=1 / RECALL_TIME_SHARE):
        yield


def _is_idle(pool: WatchedPool) -> bool:
    """Return whether none of this engine's calls uses the database."""
    stats = pool.get_stats()
    return not stats["requests_waiting"] and stats["pool_available"] == stats["pool_size"]


def _check(sample: RecallSample, metrics: Metrics, names: Names) -> None:
    try:
        compared = sample.compare()
    except (psycopg.Error, PoolTimeout) as error:
        _log.debug("a search could not be repeated: %s", words_of(error))
        return
    if compared is not None:
        metrics.recall(names.label(compared.library.name), compared.found, compared.wanted)
