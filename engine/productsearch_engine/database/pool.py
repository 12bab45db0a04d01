"""The connection pool: over the embedded PostgreSQL or any other, migrated and set up.

Knows connections and their settings. Does not know tables.
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

from productsearch_engine.database import migrations
from productsearch_engine.database.postgres import Embedded
from productsearch_engine.limits import DATABASE_WAIT_S, EF_SEARCH, STATEMENT_S
from productsearch_engine.settings import Settings

_log = logging.getLogger(__name__)

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

    Raises EmbeddedError, psycopg.Error, migrations.SchemaTooNewError.
    """
    embedded = None if settings.database else Embedded(settings.data)
    try:
        dsn = embedded.start() if embedded else settings.database
        with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
            for name in migrations.apply(connection):
                _log.info("migrated: %s", name)
        with ConnectionPool(
            dsn,
            kwargs={"autocommit": True, "connect_timeout": 10},
            min_size=1,
            max_size=connections,
            configure=_configure,
            check=_check,
            timeout=DATABASE_WAIT_S,
            # Tries double their distance: short series find a database that is back sooner.
            reconnect_timeout=DATABASE_WAIT_S,
            name="engine",
        ) as pool:
            yield pool
    finally:
        if embedded:
            embedded.stop()


def _configure(connection: psycopg.Connection[Any]) -> None:
    # A prepared statement's generic plan does not know the limit, and would scan and sort.
    connection.execute(_SESSION)
    register_vector(connection)


def _check(connection: psycopg.Connection[Any]) -> None:
    """Refuse a connection whose server has gone, without a round trip.

    Nothing is due on an idle connection: what can be read is a goodbye or the end.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        # Else the pool, which has not heard of it, would keep the connection.
        connection.close()
        raise psycopg.OperationalError("the server closed this idle connection")
