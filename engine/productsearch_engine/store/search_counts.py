"""Counts the searches of each library by the hour: in memory first, then in the database.

What was counted since the last ``write`` is lost with a process that is killed. Does not know when
to write: ``server.compose`` does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, LiteralString

from psycopg_pool import ConnectionPool

from productsearch_engine.limits import LIBRARY_PAGE_DAYS, SEARCH_COUNTS_MAX

_HOUR_S = 3600


class SearchCounts:
    """The counts of one process; safe for threads."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool
        self._lock = threading.Lock()
        self._pending: dict[tuple[int, int], int] = {}

    def count(self, library_id: int) -> None:
        """Count a search that was answered now.

        At most ``SEARCH_COUNTS_MAX`` libraries and hours wait for a database that is away; a
        search of a further one is not counted.
        """
        key = library_id, int(time.time()) // _HOUR_S
        with self._lock:
            if key in self._pending or len(self._pending) < SEARCH_COUNTS_MAX:
                self._pending[key] = self._pending.get(key, 0) + 1

    def write(self) -> None:
        """Add what was counted to the database; what could not be written is kept for later."""
        with self._lock:
            taken, self._pending = self._pending, {}
        try:
            self._write(taken)
        except BaseException:
            with self._lock:
                for key, count in taken.items():
                    self._pending[key] = self._pending.get(key, 0) + count
            raise

    def _write(self, counts: Mapping[tuple[int, int], int]) -> None:
        # In one order, so that two engines do not lock each other's rows.
        rows = sorted(counts.items())
        values = {
            "libraries": [library_id for (library_id, _), _ in rows],
            "hours": [hour * _HOUR_S for (_, hour), _ in rows],
            "counts": [count for _, count in rows],
            "days": LIBRARY_PAGE_DAYS,
        }
        with self._pool.connection() as connection, connection.transaction():
            if rows:
                connection.execute(_ADD, values)
            connection.execute(_FORGET, values)


# A library that was deleted meanwhile has no row to join.
_ADD: LiteralString = """
insert into searches (library_id, hour, count)
select l.id, to_timestamp(c.hour), c.count
from unnest(%(libraries)s::bigint[], %(hours)s::bigint[], %(counts)s::bigint[])
    as c (library_id, hour, count)
join libraries l on l.id = c.library_id order by 1, 2
on conflict (library_id, hour) do update set count = searches.count + excluded.count
"""
_FORGET: LiteralString = (
    "delete from searches where hour < now() - make_interval(days => %(days)s + 1)"
)
