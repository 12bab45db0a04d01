"""Stores an image, its prefix and its small copy, and counts it: all of it or nothing.

In one statement, with triggers that write what hangs on the image. On a cluster, where no trigger
runs and a statement writes to one table, in a transaction of short ones.
"""

from __future__ import annotations

from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg import errors

from productsearch_engine.store import statements
from productsearch_engine.store.libraries import Library


class Tried(NamedTuple):
    """What came of an attempt to add."""

    added: bool
    known: int | None
    """The sign of the same image, which was there."""
    has_room: bool
    """False: it was not stored because its stripe had no place."""
    taken: bool
    """Whether another image has the sign."""


_NO_ROOM = Tried(added=False, known=None, has_room=False, taken=False)


def attempt(connection: psycopg.Connection[Any], library: Library, values: dict[str, Any]) -> Tried:
    """Try to store an image under a sign, in a place of a stripe; ``values`` are its columns."""
    if library.bucketed:
        return _in_steps(connection, library, values)
    try:
        row = connection.execute(statements.add(library), values).fetchone()
    except errors.CheckViolation as error:
        if error.diag.constraint_name != "lent_room_left":
            raise
        # Another add took the last place meanwhile.
        return _NO_ROOM
    assert row is not None  # noqa: S101 - a select of scalars always has a row
    added, known, places, taken = row
    return Tried(added, known, added or known is not None or places > 0, taken)


def together(connection: psycopg.Connection[Any]) -> None:
    """Let what a transaction writes to shards and to tables of the coordinator be committed as one.

    First in each such transaction. Citus commits a single worker before the coordinator, and a
    crash between the two would leave an image that is not counted; it commits in two phases once a
    statement changes a table of the coordinator that it manages. This one changes nothing.
    """
    connection.execute("delete from two_phase where id = 0")


def _in_steps(
    connection: psycopg.Connection[Any], library: Library, values: dict[str, Any]
) -> Tried:
    values = values | statements.at(values["sign"])
    with connection.transaction() as transaction:
        together(connection)
        if not connection.execute(statements.composed(_ADD, library), values).rowcount:
            row = connection.execute(statements.composed(_KNOWN, library), values).fetchone()
            known, taken = row or (None, False)
            return Tried(added=False, known=known, has_room=True, taken=taken)
        connection.execute(statements.composed(_NEAREST, library), values)
        if library.keep_images and values["kept"] is not None:
            connection.execute(statements.composed(KEEP, library), values)
        # The stripe last: its row is locked only while the transaction flushes.
        has_room = connection.execute(statements.composed(_COUNT, library), values).rowcount > 0
        if not has_room:
            raise psycopg.Rollback(transaction)
    return Tried(added=has_room, known=None, has_room=has_room, taken=False)


_ADD: LiteralString = """
insert into {images} (library_id, bucket, sign, digest, brief, class_id1, class_id2, embedding,
    width, height, byte_count)
values ({library}, %(bucket)s, %(sign)s, %(digest)s, %(brief)s, %(class_id1)s::int,
    %(class_id2)s::int, %(embedding)b, %(width)s::int, %(height)s::int, %(byte_count)s::int)
on conflict do nothing
"""
_KNOWN: LiteralString = """
select max(sign) filter (where digest = %(digest)s),
    coalesce(bool_or(sign = %(sign)s and digest <> %(digest)s), false)
from {images} where library_id = {library}{at} and (digest = %(digest)s or sign = %(sign)s)
"""
_NEAREST: LiteralString = """
insert into {nearest} (library_id, bucket, sign, class_id1, class_id2, prefix)
values ({library}, %(bucket)s, %(sign)s, %(class_id1)s::int, %(class_id2)s::int,
    nearest_prefix({axes}, %(embedding)b))
"""
KEEP: LiteralString = """
insert into {kept} (library_id, bucket, sign, webp, region)
values ({library}, %(bucket)s, %(sign)s, %(kept)s, %(region)s::float8[])
on conflict do nothing
"""
"""Stores the small copy of an image whose row is locked."""

_COUNT: LiteralString = """
update lent_room set lent = lent - 1
where library_id = {library} and stripe = %(stripe)s and lent > 0
"""
