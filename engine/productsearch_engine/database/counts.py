"""Compares how many images each library counts with how many it has, as far as that goes quickly.

Both are read in one statement, so what is written meanwhile makes no difference between them. Knows
the engine's tables. Does not know what is to be done.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors

_COUNT = """
select l.name, l.image_count - lent_room_of(l.id),
    (select count(*) from images where library_id = {id})
from libraries l where l.id = {id}
"""
_BUCKETED = "select exists (table bucket_layout)"


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many images a library says that it has, and how many there are."""

    id: int
    name: str
    told: int
    stored: int


def counts(connection: psycopg.Connection[Any], within_s: float) -> tuple[Count, ...]:
    """Return the counts of the libraries that can be counted in this time, small ones first.

    None on a cluster, where a statement sees no single moment. The connection is in autocommit.
    """
    if connection.execute(_BUCKETED).fetchone() == (True,):
        return ()
    ends_s = time.monotonic() + within_s
    found = []
    for (library,) in connection.execute("select id from libraries order by image_count, id"):
        left_ms = int((ends_s - time.monotonic()) * 1000)
        if left_ms <= 0:
            break
        connection.execute(f"set statement_timeout = {left_ms}".encode())
        try:
            row = connection.execute(_COUNT.format(id=library).encode()).fetchone()
        except errors.QueryCanceled:
            break
        if row is not None:
            found.append(Count(id=library, name=row[0], told=row[1], stored=row[2]))
    connection.execute("reset statement_timeout")
    return tuple(found)
