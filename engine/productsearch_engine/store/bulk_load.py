"""Loads a batch of rows by COPY, with the count of images and how far its import has come.

All of it is there after a crash, or nothing. The rows wait in a temporary table, and go from there
into the library's table of images and into that of prefixes. Knows tables. Does not know files.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, LiteralString

import numpy as np
from pgvector import HalfVector
from psycopg import Connection

from productsearch_engine.limits import SIGN_ATTEMPTS_MAX
from productsearch_engine.store import (
    adds,
    bucketed_bulk,
    bulk_prefixes,
    originals,
    signs,
    statements,
)
from productsearch_engine.store.bulk_prefixes import Turned
from productsearch_engine.store.images import LibraryGoneError
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.rows import Loaded, Progress, Row


def load(
    connection: Connection[Any],
    library: Library,
    rows: Sequence[Row],
    source: str | None,
    progress: Sequence[Progress],
) -> Loaded:
    """Store the rows that the library has not got and has room for, in one transaction.

    Raises LibraryGoneError, and CheckViolation if adds of others took the last places meanwhile.
    """
    with connection.transaction():
        if library.bucketed:
            adds.together(connection)
        turned = bulk_prefixes.give(connection, library)
        connection.execute(_INCOMING)
        _copy(connection, rows, turned)
        places = _room(connection, library)
        if library.bucketed:
            bucketed_bulk.check(rows)
            insert = partial(bucketed_bulk.insert, connection, library)
            left_of = partial(bucketed_bulk.left, connection, library)
        else:
            text = _insertion(library, given=turned is not None)
            insert = partial(_inserted, connection, text)
            left_of = partial(_left, connection, library)
        added = insert(places)
        left = left_of() if added < len(rows) else []
        attempt = 1
        while left and added < places and attempt < SIGN_ATTEMPTS_MAX:
            # Their signs belong to other images.
            for place in left:
                sign = signs.derive(rows[place].digest, attempt)
                connection.execute("update incoming set sign = %s where place = %s", [sign, place])
            added += insert(places - added)
            left, attempt = left_of(), attempt + 1
        taken = min(left, default=len(rows))
        connection.execute(
            "update libraries set image_count = image_count + %s where id = %s",
            [added, library.id],
        )
        if source is not None:
            _note(connection, library, source, progress[taken], added)
    return Loaded(taken, added)


def _copy(connection: Connection[Any], rows: Sequence[Row], turned: Turned | None) -> None:
    prefixes = turned.prefixes([row.vector for row in rows]) if turned else [None] * len(rows)
    with (
        connection.cursor() as cursor,
        cursor.copy("copy incoming from stdin (format binary)") as copy,
    ):
        copy.set_types(_TYPES)
        for place, (row, prefix) in enumerate(zip(rows, prefixes, strict=True)):
            copy.write_row(
                (
                    *(place, row.sign, row.digest, row.brief, row.class_id1, row.class_id2),
                    *(HalfVector(np.frombuffer(row.vector, "<f2")), prefix),
                    *(row.created_at, row.updated_at, row.copy),
                    None if row.region is None else list(row.region),
                    *originals.values(row.original).values(),
                )
            )


def _room(connection: Connection[Any], library: Library) -> int:
    row = connection.execute(
        "select capacity - image_count from libraries where id = %s", [library.id]
    ).fetchone()
    if row is None:
        raise LibraryGoneError
    return int(row[0])


def _insertion(library: Library, *, given: bool) -> bytes:
    kept = _INSERT_KEPT if library.keep_images else ""
    near = bulk_prefixes.INSERT if given else ""
    return statements.composed(_INSERT.replace("KEPT", kept).replace("NEAR", near), library)


def _inserted(connection: Connection[Any], insert: bytes, room: int) -> int:
    row = connection.execute(insert, {"room": room}).fetchone()
    return int(row[0]) if row else 0


def _left(connection: Connection[Any], library: Library) -> list[int]:
    """Return the places of the rows that are not stored."""
    rows = connection.execute(statements.composed(_LEFT, library)).fetchall()
    return [row[0] for row in rows]


def _note(
    connection: Connection[Any],
    library: Library,
    source: str,
    progress: Progress,
    added: int,
) -> None:
    connection.execute(
        _NOTE,
        {
            "library": library.id,
            "source": source,
            "position": progress.position,
            "rows_read": progress.rows_read,
            "rejected": progress.rejected,
            "added": added,
        },
    )


_INCOMING: LiteralString = """
create temporary table incoming (
    place int, sign bigint, digest bytea, brief bytea, class_id1 int, class_id2 int,
    embedding halfvec, prefix halfvec, created_at timestamptz, updated_at timestamptz,
    webp bytea, region float8[], width int, height int, byte_count int
) on commit drop
"""
_TYPES = (
    *("int4", "int8", "bytea", "bytea", "int4", "int4", "halfvec", "halfvec"),
    *("timestamptz", "timestamptz", "bytea", "float8[]", "int4", "int4", "int4"),
)

# In the order of the digests, as another import would, so that two do not deadlock; of those that
# there is no room for, the last rows. The limit lets PostgreSQL look up each digest in its index:
# it knows nothing of a table that grows while it is loaded, and would read all of it each time.
_INSERT: LiteralString = """
with fresh as (
    select distinct on (i.digest) i.* from incoming i left join lateral (
        select true as stored from {images}
        where library_id = {library} and digest = i.digest limit 1
    ) as s on true
    where s.stored is null order by i.digest, i.place
),
fitting as (select * from fresh order by place limit greatest(%(room)s, 0)),
added as (
    insert into {images} (library_id, sign, digest, brief, class_id1, class_id2, embedding,
        created_at, updated_at, width, height, byte_count)
    select {library}, sign, digest, brief, class_id1, class_id2, embedding,
        coalesce(created_at, now()), coalesce(updated_at, created_at, now()), width, height,
        byte_count
    from fitting order by digest
    on conflict do nothing returning sign, digest
)KEPTNEAR
select count(*) from added
"""
_INSERT_KEPT: LiteralString = """,
kept as (
    insert into {kept} (library_id, sign, webp, region)
    select {library}, a.sign, f.webp, f.region from added a join fitting f using (digest)
    where f.webp is not null
    on conflict (library_id, sign) do update set webp = excluded.webp, region = excluded.region
)"""

_LEFT: LiteralString = """
select i.place from incoming i left join lateral (
    select true as stored from {images}
    where library_id = {library} and digest = i.digest limit 1
) as s on true
where s.stored is null order by i.place
"""

_NOTE: LiteralString = """
insert into imports as i (library_id, source, position, rows_read, added, rejected)
values (%(library)s, %(source)s, %(position)s, %(rows_read)s, %(added)s, %(rejected)s)
on conflict (library_id, source) do update set position = excluded.position,
    rows_read = excluded.rows_read, rejected = excluded.rejected,
    added = i.added + excluded.added
"""
