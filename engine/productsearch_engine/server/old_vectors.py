"""Drops the vectors from before a change of embedding once the day to go back is over.

Knows when to look. ``store.reembeddings`` knows what is old.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg_pool import PoolTimeout

from productsearch_engine.database.cause import words_of
from productsearch_engine.limits import REEMBEDDING_LOOK_S
from productsearch_engine.server.repeating import repeating
from productsearch_engine.store.reembeddings import Reembeddings

_log = logging.getLogger(__name__)


@contextmanager
def dropping(reembeddings: Reembeddings, every_s: float = REEMBEDDING_LOOK_S) -> Iterator[None]:
    """Look at once, and again and again until the context ends."""

    def drop() -> None:
        try:
            reembeddings.drop_old()
        except (psycopg.Error, PoolTimeout) as error:
            _log.warning("old vectors were not dropped: %s", words_of(error))

    reembeddings.drop_old()
    with repeating(drop, "old vectors", every_s):
        yield
