"""How many calls a library's app may make: a second, a day, and in all.

The database counts, in one row for each app that has bounds, so that any number of engines stay
within them exactly. An app without bounds costs nothing. Knows the table ``quotas``. Does not know
codes of the contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from psycopg_pool import ConnectionPool

from productsearch_engine.store.libraries import unknown


class Bound(StrEnum):
    """A bound that a call would pass."""

    SECOND = "second"
    DAY = "day"
    TOTAL = "total"


@dataclass(frozen=True, kw_only=True)
class Quota:
    """An app's bounds (None: there is none) and what is used of them, in calls."""

    per_second: int | None
    per_day: int | None
    in_total: int | None
    today: int = 0
    total: int = 0

    @property
    def is_none(self) -> bool:
        """Return whether nothing is bounded."""
        return self.per_second is None and self.per_day is None and self.in_total is None


class Quotas:
    """The quotas of one database's apps."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def take(self, app_id: int) -> Bound | None:
        """Count a call, or return the bound that keeps it from being made."""
        with self._pool.connection() as connection:
            row = connection.execute("select take_call(%s)", [app_id]).fetchone()
        return None if row is None or row[0] is None else Bound(row[0])

    def of(self, name: str) -> Quota:
        """Return a library's quota. Raises LibraryError."""
        with self._pool.connection() as connection:
            row = connection.execute(_OF, [name]).fetchone()
            if row is None:
                raise unknown(connection, name)
        return Quota(
            per_second=row[0], per_day=row[1], in_total=row[2], today=row[3] or 0, total=row[4] or 0
        )

    def bound(self, name: str, quota: Quota) -> None:
        """Let a library's app make so many calls from now on; what was used stays counted.

        Without a bound the app is not counted any more. Raises LibraryError.
        """
        with self._pool.connection() as connection, connection.transaction():
            row = connection.execute(
                "select app_id from libraries where name = %s", [name]
            ).fetchone()
            if row is None:
                raise unknown(connection, name)
            if quota.is_none:
                connection.execute("delete from quotas where app_id = %s", row)
                return
            connection.execute(
                "insert into quotas (app_id, per_second, per_day, in_total)"
                " values (%s, %s, %s, %s) on conflict (app_id) do update set"
                " per_second = excluded.per_second, per_day = excluded.per_day,"
                " in_total = excluded.in_total",
                [row[0], quota.per_second, quota.per_day, quota.in_total],
            )


_OF = """
select per_second, per_day, in_total,
    case when day = (now() at time zone 'UTC' + interval '8 hours')::date then day_calls else 0 end,
    total_calls
from libraries l left join quotas q on q.app_id = l.app_id where l.name = %s
"""
