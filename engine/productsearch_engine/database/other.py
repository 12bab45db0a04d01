"""Tells a failure of a second database from one of the engine's own.

Knows connection strings and what a watch knows. Does not know what is copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

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
