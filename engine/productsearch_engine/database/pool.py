"""Opens a connection pool to a migrated database: the embedded PostgreSQL or any other.

Knows connections and their session settings. Does not know tables.
"""

from __future__ import annotations

import logging
import math
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, LiteralString, Self

import psycopg
from pgvector.psycopg import register_vector
from psycopg_pool import ConnectionPool, PoolTimeout

from productsearch_engine.database import migrate
from productsearch_engine.database.bounded import BoundedConnection
from productsearch_engine.database.cause import cause_of
from productsearch_engine.database.postgres import Embedded
from productsearch_engine.database.watch import Watch
from productsearch_engine.limits import (
    DATABASE_AGAIN_S,
    DATABASE_CONNECT_S,
    DATABASE_WAIT_S,
    EF_SEARCH,
    STATEMENT_S,
)
from productsearch_engine.settings import Settings

_log = logging.getLogger(__name__)

SEARCH_SETTINGS: dict[LiteralString, str] = {
    "hnsw.ef_search": str(EF_SEARCH),
    "hnsw.iterative_scan": "relaxed_order",
    "hnsw.max_scan_tuples": "200000",
    "work_mem": "32MB",
}
"""How a search is done, on each node of a cluster too."""

# A generic plan of a prepared statement does not know the page's limit and would scan and
# sort; hence plan_cache_mode.
_SESSION = f"""
set synchronous_commit = on;
set statement_timeout = '{STATEMENT_S}s';
set plan_cache_mode = force_custom_plan;
""" + "".join(f"set {name} = '{value}';\n" for name, value in SEARCH_SETTINGS.items())

# A statement that fails by design, such as an add that loses the race for the last place, or a
# call on a library that was just deleted, does not belong in PostgreSQL's log with all its SQL:
# the engine logs what is a fault. Only a superuser may say so.
_QUIET: LiteralString = """
select set_config(name, value, false)
from (values ('log_min_messages', 'fatal'), ('log_min_error_statement', 'panic'))
    as quiet(name, value)
where current_setting('is_superuser') = 'on'
"""


class DatabaseDownError(psycopg.OperationalError):
    """The database does not answer anybody at the moment."""


class SoughtConnection(BoundedConnection):
    """A connection that is sought until there is one.

    The pauses of a pool double, and go on when the database has connections again.
    """

    @classmethod
    def connect(cls, conninfo: str = "", **parameters: Any) -> Self:
        """Return a connection that was given to ``prepare``, a function of one connection.

        ``is_sought`` is a function that is told of each failure, waits, and returns whether to try
        again. Both are parameters beside psycopg's. Raises psycopg.Error once it is sought no more.
        """
        prepare, is_sought = parameters.pop("prepare"), parameters.pop("is_sought")
        while True:
            try:
                connection = super().connect(conninfo, **parameters)
                try:
                    prepare(connection)
                except BaseException:
                    connection.close()
                    raise
            except psycopg.Error as error:
                if not is_sought(error):
                    raise
            else:
                return connection


class WatchedPool(ConnectionPool[BoundedConnection]):
    """A pool that hands out no connection while the database does not answer.

    A call that needs the database then fails at once, not after a wait of its own. A command, which
    would lose its work, waits for ``patience_s``.
    """

    def __init__(self, dsn: str, watch: Watch, connections: int, patience_s: float = 0.0):
        self.watch = watch
        self._patience_s = patience_s
        self.stage: Callable[[str, float], object] = lambda *_: None
        """Is told the seconds of each wait for a connection, and of its use."""
        super().__init__(
            dsn,
            connection_class=SoughtConnection,
            kwargs={
                "autocommit": True,
                "connect_timeout": DATABASE_CONNECT_S,
                "prepare": self._prepare,
                "is_sought": self._is_sought,
            },
            min_size=1,
            max_size=connections,
            open=False,
            check=_check,
            timeout=DATABASE_WAIT_S,
            name="engine",
        )

    def getconn(self, timeout: float | None = None) -> BoundedConnection:
        """Return a connection. Raises DatabaseDownError, psycopg_pool.PoolTimeout."""
        ends_s = time.monotonic() + self._patience_s
        while True:
            while self.watch.is_down:
                if time.monotonic() >= ends_s:
                    raise DatabaseDownError("the database does not answer")
                time.sleep(DATABASE_AGAIN_S)
            try:
                return super().getconn(timeout)
            except PoolTimeout:
                # A database that has just gone down is not known to be.
                if time.monotonic() >= ends_s:
                    raise

    @contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[BoundedConnection]:
        """Lend a connection. Raises what ``getconn`` raises."""
        asked_s = lent_s = time.perf_counter()
        try:
            with super().connection(timeout) as connection:
                lent_s = time.perf_counter()
                self.stage("connection_wait", lent_s - asked_s)
                try:
                    yield connection
                except psycopg.errors.ReadOnlySqlTransaction:
                    # After a failover this may lead to what is a standby now: a new one is opened.
                    connection.close()
                    raise
        except psycopg.errors.DiskFull:
            self.watch.note_full_disk()
            raise
        finally:
            if lent_s > asked_s:
                self.stage("sql", time.perf_counter() - lent_s)

    def _is_sought(self, error: psycopg.Error) -> bool:
        """Wait until the next try for a connection; return false when the pool is closed."""
        if not self.watch.is_down:
            _log.warning("no connection: %s", cause_of(error, str(self.conninfo)))
        time.sleep(DATABASE_AGAIN_S)
        while self.watch.is_down and not self.closed:
            time.sleep(DATABASE_AGAIN_S)
        return not self.closed

    def _prepare(self, connection: BoundedConnection) -> None:
        _watched(connection, self.watch)
        connection.execute(_SESSION)
        connection.execute(_QUIET)
        register_vector(connection)


@contextmanager
def open_pool(
    settings: Settings, connections: int, patience_s: float = 0.0
) -> Iterator[WatchedPool]:
    """Yield a pool of at most ``connections`` to the migrated database.

    patience_s: how long a database that is down is waited for whenever a connection is asked for.

    Raises EmbeddedError, psycopg.Error, migrate.SchemaTooNewError.
    """
    embedded = None if settings.database else Embedded(settings.data)
    try:
        dsn = embedded.start() if embedded else settings.database
        watch = Watch(dsn, embedded.disk if embedded else None)
        try:
            watch.start()
            _migrate(dsn, watch)
            with WatchedPool(dsn, watch, connections, patience_s) as pool:
                yield pool
        finally:
            watch.stop()
    finally:
        if embedded:
            embedded.stop()


def _migrate(dsn: str, watch: Watch) -> None:
    with BoundedConnection.connect(
        dsn, autocommit=True, connect_timeout=DATABASE_CONNECT_S
    ) as connection:
        _watched(connection, watch)
        # A migration may take long, or wait for another engine's.
        connection.limit_s = math.inf
        if names := migrate.apply(connection):
            _log.info("migrated: %s", ", ".join(names))


def _watched(connection: BoundedConnection, watch: Watch) -> None:
    connection.given_up = watch.has_given_up
    connection.answered = watch.note_answer


def _check(connection: psycopg.Connection[Any]) -> None:
    """Refuse a connection that the server has closed, without a round trip.

    The server sends nothing on an idle connection. If there is something to read, it is the
    server's last message or the end of the stream.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        # The pool discards only connections that are closed.
        connection.close()
        raise psycopg.OperationalError("the server closed this idle connection")
