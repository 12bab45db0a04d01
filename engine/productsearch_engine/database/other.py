"""Tells a second database from the engine's own: whether it is one, and whose a failure is.

Knows connection strings and what a watch knows. Does not know what is copied.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool

from productsearch_engine.database.cause import cause_of
from productsearch_engine.database.migrate import SchemaTooNewError
from productsearch_engine.database.watch import Watch


class OtherDatabaseError(Exception):
    """A second database cannot be used; the text says where it is, why, and what to do."""


@contextmanager
def blamed(dsn: str, named_by: str, own: Watch) -> Iterator[None]:
    """Raise OtherDatabaseError for psycopg.Error, unless the engine's ``own`` database is down, and
    for SchemaTooNewError.

    named_by: the option that ``dsn`` was given by.
    """
    try:
        yield
    except psycopg.Error as error:
        if own.is_down:
            raise
        raise OtherDatabaseError(cause_of(error, dsn, named_by)) from None
    except SchemaTooNewError as error:
        raise OtherDatabaseError(f"{named_by}: {error}") from None


def are_one(own: ConnectionPool[Any], other: ConnectionPool[Any]) -> bool:
    """Return whether two pools lead to one database, whatever its server is called in either.

    A lock that nobody else can have is held in the one and asked for in the other.
    """
    key = [secrets.randbits(62)]
    with own.connection() as holding, other.connection() as asking:
        holding.execute("select pg_advisory_lock(%s)", key)
        row = asking.execute("select pg_try_advisory_lock(%s)", key).fetchone()
        is_free = row == (True,)
        if is_free:
            asking.execute("select pg_advisory_unlock(%s)", key)
        holding.execute("select pg_advisory_unlock(%s)", key)
    return not is_free
