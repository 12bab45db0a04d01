"""Opens a connection pool to a migrated database: the embedded PostgreSQL or any other.

Knows connections and their session settings. Does not know tables.
"""

from __future__ import annotations

import logging
import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from pgvector.psycopg import register_vector
from psycopg_pool import ConnectionPool

from productsearch_engine.database import migrate
from productsearch_engine.database.postgres import Embedded
from productsearch_engine.limits import DATABASE_WAIT_S, EF_SEARCH, STATEMENT_S
from productsearch_engine.settings import Settings

_log = logging.getLogger(__name__)

# A generic plan of a prepared statement does not know the page's limit and would scan and
# sort; hence plan_cache_mode.
_SESSION = f"""
set synchronous_commit = on;
set statement_timeout = '{STATEMENT_S}s';
set plan_cache_mode = force_custom_plan;
set hnsw.ef_search = {EF_SEARCH};
set hnsw.iterative_scan = strict_order;
set hnsw.max_scan_tuples = 200000;
set work_mem = '32MB';
"""


@contextmanager
def open_pool(settings: Settings, connections: int) -> Iterator[ConnectionPool[Any]]:
    """Yield a pool of at most ``connections`` to the migrated database.

    Raises EmbeddedError, psycopg.Error, migrate.SchemaTooNewError.
    """
    embedded = None if settings.database else Embedded(settings.data)
    try:
        dsn = embedded.start() if embedded else settings.database
        with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
            for name in migrate.apply(connection):
                _log.info("migrated: %s", name)
        with ConnectionPool(
            dsn,
            kwargs={"autocommit": True, "connect_timeout": 10},
            min_size=1,
            max_size=connections,
            configure=_configure,
            check=_check,
            timeout=DATABASE_WAIT_S,
            # The pause between tries doubles; a short series notices a restart sooner.
            reconnect_timeout=DATABASE_WAIT_S,
            name="engine",
        ) as pool:
            yield pool
    finally:
        if embedded:
            embedded.stop()


def ping(pool: ConnectionPool[Any], wait_s: float) -> None:
    """Run a statement. Raises psycopg.Error if the database does not answer in time."""
    with pool.connection(timeout=wait_s) as connection:
        connection.execute("select 1")


def _configure(connection: psycopg.Connection[Any]) -> None:
    connection.execute(_SESSION)
    register_vector(connection)


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
