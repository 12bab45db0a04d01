"""Writes the counts of searches every few seconds, and once more at the end.

Knows when. ``store.search_counts`` knows what.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg_pool import PoolTimeout

from productsearch_engine.database.cause import words_of
from productsearch_engine.limits import SEARCH_COUNTS_WRITTEN_S
from productsearch_engine.server.repeating import repeating
from productsearch_engine.store.search_counts import SearchCounts

_log = logging.getLogger(__name__)


@contextmanager
def counting(counts: SearchCounts, every_s: float = SEARCH_COUNTS_WRITTEN_S) -> Iterator[None]:
    """Write again and again until the context ends."""

    def write() -> None:
        try:
            counts.write()
        except (psycopg.Error, PoolTimeout) as error:
            _log.warning("counts of searches were not written: %s", words_of(error))

    try:
        with repeating(write, "search counts", every_s):
            yield
    finally:
        write()
