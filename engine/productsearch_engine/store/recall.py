"""Measures what searches miss: a sample of those by the index is repeated and compared.

Both answers are of one snapshot of the database, so images that came or went since do not count.
Vectors wait in memory, a few of them; nothing of a search is written anywhere. Does not know when
there is time: ``server.recall_checks`` does.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import Any

from pgvector import HalfVector
from psycopg import errors
from psycopg_pool import ConnectionPool

from productsearch_engine.limits import RECALL_SHARE, RECALL_WAITING_MAX
from productsearch_engine.store import search_statements
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.plans import Plan
from productsearch_engine.store.statements import ClassFilter

_EVERY = ClassFilter(class_id1=None, class_id2=None, any_class=False)


@dataclass(frozen=True)
class Compared:
    """One search, repeated: of ``wanted`` ranks ``found`` belong there."""

    library: Library
    found: int
    wanted: int


class RecallSample:
    """The searches of one process that wait to be repeated; safe for threads."""

    def __init__(self, pool: ConnectionPool[Any], share: float = RECALL_SHARE):
        """``share``: 0 to 1, of the searches offered."""
        self._pool = pool
        self._share = share
        self._waiting: deque[tuple[Library, HalfVector, int]] = deque(maxlen=RECALL_WAITING_MAX)

    def offer(self, library: Library, embedding: HalfVector, count: int) -> None:
        """Take a search for the first ``count`` ranks, now and then, in place of the oldest."""
        if random.random() < self._share:  # noqa: S311 - which ones is no secret
            self._waiting.append((library, embedding, count))

    def compare(self) -> Compared | None:
        """Repeat the search that came last; None: none waits, or its library is gone.

        Raises psycopg.Error, psycopg_pool.PoolTimeout.
        """
        try:
            library, embedding, count = self._waiting.pop()
        except IndexError:
            return None
        values = {
            "embedding": embedding,
            "digest": b"",
            "start": 0,
            "count": count,
            "stored": library.image_count,
            "candidates": search_statements.candidates_of(library, 0, count),
        }
        try:
            by_index, exact = self._both(library, values)
        except errors.UndefinedTable:
            return None
        if not exact:
            return None
        # Of images that are equally far either may come.
        last = exact[-1][1]
        return Compared(library, sum(row[1] <= last for row in by_index), len(exact))

    def _both(self, library: Library, values: dict[str, Any]) -> list[list[tuple[Any, ...]]]:
        # Not the pool's own context: the time that SQL takes is told of calls alone.
        connection = self._pool.getconn()
        try:
            with connection.transaction():
                connection.execute("set transaction isolation level repeatable read, read only")
                values |= search_statements.prefix_of(connection, library, values["embedding"])
                found = [
                    connection.execute(
                        search_statements.search(library, _EVERY, plan), values, binary=True
                    ).fetchall()
                    for plan in (Plan.NEAREST, Plan.LIBRARY)
                ]
                return [search_statements.read(rows)[0] for rows in found]
        finally:
            self._pool.putconn(connection)
