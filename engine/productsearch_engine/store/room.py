"""The room of a library, lent in small parts to stripes that adds count in.

One row that each add counts in would be locked by each until the disk has its transaction. An add
takes a place from the stripe of its own connection instead. Stripes get places from the library, or
from each other when it has none left: a library is full when no stripe has a place. What is lent is
counted as taken in ``libraries``, so the capacity holds whatever happens to a writer.

Locks: first the turn, outside of a transaction, then the library's row, then stripes in order. An
add locks its stripe last. What refers to the library's row (a small copy) waits for no lock here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

from psycopg import Connection

from productsearch_engine.limits import ROOM_LENT_MAX, ROOM_STRIPES
from productsearch_engine.store.libraries import Library

_TURN = 7_201_190_005
"""With the library's id: one connection at a time is lent places."""


def stripe(connection: Connection[Any]) -> int:
    """Return the stripe that a connection counts in."""
    return connection.info.backend_pid % ROOM_STRIPES


@contextmanager
def turn(connection: Connection[Any], library: Library) -> Iterator[None]:
    """Wait for the turn to be lent places, and keep it until the body has used one.

    Without turns writers of a library that is nearly full take places from each other without end.
    """
    key = [_TURN % 2**31, library.id % 2**31]
    connection.execute("select pg_advisory_lock(%s, %s)", key)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("select pg_advisory_unlock(%s, %s)", key)


def lend(connection: Connection[Any], library: Library) -> int | None:
    """Lend a connection's stripe some places; return how many it has now.

    0: no place is left in the library, nor with any stripe. None: the library is gone.
    """
    values = {
        "library": library.id,
        "stripe": stripe(connection),
        "most": ROOM_LENT_MAX,
        "parts": 2 * ROOM_STRIPES,
    }
    with connection.transaction():
        # The statement after the lock sees what whoever had it has lent.
        if connection.execute(_LOCK, values).fetchone() is None:
            return None
        row = connection.execute(_LEND, values).fetchone()
    return int(row[0]) if row else 0


def take_back(connection: Connection[Any], library: Library) -> int:
    """Take back what is lent, for somebody who counts in the library's row; return how much."""
    values = {"library": library.id}
    with connection.transaction():
        connection.execute(_LOCK, values)
        row = connection.execute(_TAKE_BACK, values).fetchone()
    return int(row[0]) if row else 0


_LOCK: LiteralString = "select from libraries where id = %(library)s for no key update"

# The fewer places are free, the fewer are lent, so that others seldom have to take them away.
_LEND: LiteralString = """
with library as (
    select capacity - image_count as free,
        greatest(1, least(%(most)s, (capacity - image_count) / %(parts)s)) as part
    from libraries where id = %(library)s
),
others as (
    select stripe, lent from lent_room
    where library_id = %(library)s and lent > 0 and (select free from library) < 1
    order by stripe for update
),
taken as (
    update lent_room r set lent = r.lent - o.lent from others o
    where r.library_id = %(library)s and r.stripe = o.stripe and o.stripe <> %(stripe)s
),
counted as (
    update libraries set image_count = image_count + (select part from library)
    where id = %(library)s and (select free from library) > 0
)
insert into lent_room as r (library_id, stripe, lent)
select %(library)s, %(stripe)s, case when free > 0 then part else (
    select coalesce(sum(lent), 0) from others where stripe <> %(stripe)s
) end from library
on conflict (library_id, stripe) do update set lent = r.lent + excluded.lent
returning lent
"""

_TAKE_BACK: LiteralString = """
with others as (
    select stripe, lent from lent_room where library_id = %(library)s and lent > 0
    order by stripe for update
),
taken as (
    update lent_room r set lent = r.lent - o.lent from others o
    where r.library_id = %(library)s and r.stripe = o.stripe
),
counted as (
    update libraries set image_count = image_count - (select sum(lent) from others)
    where id = %(library)s and exists (table others)
)
select coalesce(sum(lent), 0) from others
"""
