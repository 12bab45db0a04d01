"""The edit of images: one statement, or the steps of it that a cluster takes.

Its entry in the journal has the values of before, for an undo, and those of after, to be told.
With ``versions`` it happens if every image is still as it was seen, or not at all.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg

from productsearch_engine.store import journal_statements as texts
from productsearch_engine.store.adds import together
from productsearch_engine.store.bucketed import by_bucket, take_turn
from productsearch_engine.store.bucketed_journal import END, begin
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.statements import composed

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

BEGIN: LiteralString = """
    insert into changes (library_id, kind, image_count, who, address)
    select {library}, 'edit', count(*), %(who)s, %(address)s from found
    having count(*) > 0
        and (%(versions)s::bigint[] is null or count(*) = cardinality(%(signs)s::bigint[]))
    returning id
"""

EDIT: LiteralString = """
with found as (
    select sign, brief, class_id1, class_id2, updated_at from {images}
    where library_id = {library} and sign = any(%(signs)s) and (
        %(versions)s::bigint[] is null
        or (sign, updated_at) in (
            select given.sign, '1970-01-01 00:00:00+00'::timestamptz
                + given.version * interval '1 microsecond'
            from unnest(%(signs)s::bigint[], %(versions)s::bigint[]) as given (sign, version)
        )
    )
    order by sign for update
),
change as (BEGIN),
edited as (
    update {images} i set
        brief = coalesce(b.brief, %(brief)s::bytea, i.brief),
        class_id1 = case when %(sets_class_id1)s then %(class_id1)s::int else i.class_id1 end,
        class_id2 = case when %(sets_class_id2)s then %(class_id2)s::int else i.class_id2 end,
        updated_at = clock_timestamp()
    from found f left join unnest(%(brief_signs)s::bigint[], %(briefs)s::bytea[])
        as b (sign, brief) on b.sign = f.sign
    where i.library_id = {library} and i.sign = f.sign and exists (table change)
    returning i.sign, i.updated_at, i.brief, i.class_id1, i.class_id2
),
saved as (
    insert into changed_images (change_id, library_id, sign, updated_at, updated_before, brief,
        class_id1, class_id2, brief_after, class_id1_after, class_id2_after)
    select c.id, {library}, f.sign, e.updated_at, f.updated_at, f.brief, f.class_id1, f.class_id2,
        e.brief, e.class_id1, e.class_id2
    from change c, found f join edited e using (sign)
)
select (select id from change), (select count(*) from edited)
""".replace("BEGIN", BEGIN)


def edit(
    connection: psycopg.Connection[Any], library: Library, values: dict[str, Any]
) -> tuple[int, int] | None:
    """Change the images ``signs`` of a library whose rows have buckets; None: of none."""
    given = values["versions"]
    seen = None if given is None else dict(zip(values["signs"], map(_time, given), strict=True))
    own = dict(zip(values["brief_signs"], values["briefs"], strict=True))
    with connection.transaction() as transaction:
        together(connection)
        change, now = begin(connection, library, "edit", values)
        take_turn(connection, library)
        entries: list[tuple[Any, ...]] = []
        as_seen = True
        for bucket, some in by_bucket(values["signs"]):
            there = {"signs": some, "bucket": bucket}
            found = connection.execute(composed(texts.LOCK, library), there).fetchall()
            as_seen &= seen is None or all(seen[row[0]] == row[4] for row in found)
            for row in _edited(connection, library, values | {"now": now}, bucket, found, own):
                entries.append((change, library.id, *row))
        done = as_seen and len(entries) >= (1 if seen is None else len(seen))
        if not done:
            raise psycopg.Rollback(transaction)
        connection.cursor().executemany(_SAVE, entries)
        connection.execute(END, {"change": change, "images": len(entries)})
    return (change, len(entries)) if done else None


def _edited(
    connection: psycopg.Connection[Any],
    library: Library,
    values: dict[str, Any],
    bucket: int,
    found: list[tuple[Any, ...]],
    own: dict[int, bytes],
) -> list[tuple[Any, ...]]:
    """Change the locked rows of one bucket; return what the journal has of each."""
    signs = [row[0] for row in found]
    alike = [sign for sign in signs if sign not in own]
    apart = [sign for sign in signs if sign in own]
    after: dict[int, tuple[Any, ...]] = {}
    for some in (alike, *([sign] for sign in apart)):
        brief = own.get(some[0], values["brief"]) if some else None
        there = values | {"bucket": bucket, "signs": some, "brief": brief}
        after |= {row[0]: row[1:] for row in connection.execute(composed(_EDIT, library), there)}
    if values["sets_class_id1"] or values["sets_class_id2"]:
        there = values | {"bucket": bucket, "signs": signs}
        connection.execute(composed(_EDIT_NEAREST, library), there)
    return [
        (sign, values["now"], before, brief, first, second, *after[sign])
        for sign, brief, first, second, before in found
    ]


def _time(version: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=version)
    except OverflowError:
        return _EPOCH


_EDIT: LiteralString = """
update {images} set brief = coalesce(%(brief)s::bytea, brief),
    class_id1 = case when %(sets_class_id1)s then %(class_id1)s::int else class_id1 end,
    class_id2 = case when %(sets_class_id2)s then %(class_id2)s::int else class_id2 end,
    updated_at = %(now)s
where library_id = {library} and sign = any(%(signs)s){at}
returning sign, brief, class_id1, class_id2
"""
_EDIT_NEAREST: LiteralString = """
update {nearest} set
    class_id1 = case when %(sets_class_id1)s then %(class_id1)s::int else class_id1 end,
    class_id2 = case when %(sets_class_id2)s then %(class_id2)s::int else class_id2 end
where library_id = {library} and sign = any(%(signs)s){at}
"""
_SAVE: LiteralString = """
insert into changed_images (change_id, library_id, sign, updated_at, updated_before, brief,
    class_id1, class_id2, brief_after, class_id1_after, class_id2_after)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
