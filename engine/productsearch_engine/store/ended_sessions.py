"""Sessions of the console that ended before their time: signed out here, or everywhere.

Knows ids and times by the engine's clock. Does not know cookies.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from psycopg_pool import ConnectionPool

from productsearch_engine.limits import CLOCKS_APART_S, SESSIONS_S


class EndedSessions:
    """The ended sessions of one database."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def end(self, *ids: bytes, at_s: float) -> None:
        """End what has these ids at a time, in seconds since 1970; forget what is over anyway."""
        with self._pool.connection() as connection:
            connection.cursor().executemany(
                "insert into ended_sessions (id, ended_at) values (%s, %s)"
                " on conflict (id) do update set ended_at = excluded.ended_at",
                [(each, datetime.fromtimestamp(at_s, UTC)) for each in ids],
            )
            connection.execute(
                "delete from ended_sessions where ended_at < now() - make_interval(secs => %s)",
                [SESSIONS_S + CLOCKS_APART_S],
            )

    def has_ended(self, session: bytes, person: bytes, began_s: float) -> bool:
        """Return whether a session has, or all that its person had begun by its time."""
        with self._pool.connection() as connection:
            row = connection.execute(
                "select from ended_sessions where id = %s or (id = %s and ended_at >= %s) limit 1",
                [session, person, datetime.fromtimestamp(began_s, UTC)],
            ).fetchone()
        return row is not None
