"""What people change in a library whose rows have buckets, as a cluster takes it.

The journal stays with the coordinator. Each change is a transaction, so after a crash it is done or
not begun; ``store.bucketed`` says why it has several statements. Values are as ``store.journal``
gives them.
"""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg

from productsearch_engine.store import journal_statements as texts
from productsearch_engine.store import signs
from productsearch_engine.store.adds import together
from productsearch_engine.store.bucketed import (
    COUNT_DELETED,
    by_bucket,
    forget,
    take_turn,
)
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.statements import among, composed

_Connection = psycopg.Connection[Any]
_Done = tuple[int, int] | None
"""The number of a change, and of how many images; None: of none, and nothing is written."""


def delete(connection: _Connection, library: Library, values: dict[str, Any]) -> _Done:
    """Delete the images ``signs`` and write down all of each."""
    with connection.transaction() as transaction:
        together(connection)
        change, _ = begin(connection, library, "delete", values)
        deleted = _take(connection, library, values | {"change": change})
        if not deleted:
            raise psycopg.Rollback(transaction)
        count_deleted(connection, library, deleted)
        connection.execute(END, {"change": change, "images": deleted})
    return (change, deleted) if deleted else None


def empty(
    connection: _Connection, library: Library, values: dict[str, Any]
) -> tuple[int, int | None]:
    """Delete some images after a sign; return how many, and the last sign that was looked at."""
    together(connection)
    rows = connection.execute(composed(_SIGNS, library), values).fetchall()
    if not rows:
        return 0, None
    some = [row[0] for row in rows]
    return _take(connection, library, values | {"signs": some}), some[-1]


def note_add(connection: _Connection, library: Library, values: dict[str, Any]) -> _Done:
    """Write down that the image ``sign`` was added."""
    there = {"signs": [values["sign"]]} | among([values["sign"]])
    found = connection.execute(composed(_ADDED_AT, library), there).fetchone()
    if found is None:
        return None
    row = connection.execute(
        composed(texts.NOTE_ADD_OF, library), values | {"updated_at": found[1]}
    ).fetchone()
    return None if row is None else (row[0], row[1])


def undo_add(
    connection: _Connection, library: Library, values: dict[str, Any]
) -> tuple[int, int | None]:
    """Delete those of some added images that nobody has changed since; return as ``empty``."""
    together(connection)
    then = dict(connection.execute(_ADDED, values).fetchall())
    if not then:
        return 0, None
    take_turn(connection, library)
    there = {"signs": [*then]} | among(then)
    now = dict(connection.execute(composed(_VERSIONS, library), there).fetchall())
    same = [sign for sign, version in then.items() if now.get(sign) == version]
    deleted = _take(connection, library, values | {"signs": same}) if same else 0
    return deleted, max(then)


def undo_edit(connection: _Connection, library: Library, values: dict[str, Any]) -> int:
    """Give the images of a change that nobody has changed since their values; return how many."""
    together(connection)
    rows = connection.execute(_EDITED, values, binary=True).fetchall()
    then = {row[0]: row for row in rows}
    take_turn(connection, library)
    undone = 0
    for bucket, some in by_bucket(then):
        there = {"signs": some, "bucket": bucket}
        locked = connection.execute(composed(texts.LOCK, library), there).fetchall()
        for sign, *_, version in locked:
            _, changed, before, brief, first, second = then[sign]
            if changed != version:
                continue
            back = {"sign": sign, "bucket": bucket, "updated_at": before}
            back |= {"brief": brief, "class_id1": first, "class_id2": second}
            connection.execute(composed(_UNDO_EDIT, library), back)
            connection.execute(composed(_UNDO_EDIT_NEAREST, library), back)
            undone += 1
    return undone


def undo_delete(
    connection: _Connection, library: Library, values: dict[str, Any]
) -> tuple[int, int | None]:
    """Store some images of a delete again; return how many, and the last that was looked at.

    An image that was added again since stays as it is.
    """
    together(connection)
    rows = connection.execute(_DELETED, values).fetchall()
    if not rows:
        return 0, None
    some = [row[0] for row in rows]
    restored = connection.execute(composed(_RESTORE, library), values | {"signs": some}).fetchall()
    back = values | {"signs": [row[0] for row in restored]}
    connection.execute(composed(_RESTORE_NEAREST, library), back)
    if library.keep_images:
        connection.execute(composed(_RESTORE_COPIES, library), back)
    return len(restored), some[-1]


def begin(
    connection: _Connection, library: Library, kind: str, values: dict[str, Any]
) -> tuple[int, Any]:
    """Write down that a change begins; return its number and the time by the coordinator.

    One that is a part of a ``change`` has begun.
    """
    text = _BEGIN if values.get("change") is None else _BEGUN
    row = connection.execute(text, values | {"library": library.id, "kind": kind}).fetchone()
    assert row is not None  # noqa: S101 - an insert without conflict returns its row
    return row[0], row[1]


def _take(connection: _Connection, library: Library, values: dict[str, Any]) -> int:
    """Delete the images ``signs`` and write down all of each; return how many there were."""
    take_turn(connection, library)
    there = {"signs": values["signs"]} | among(values["signs"])
    rows = connection.execute(composed(_DELETE_ALL, library), there, binary=True).fetchall()
    copies = {
        sign: (webp, region)
        for sign, webp, region in connection.execute(
            composed(_COPIES, library), there, binary=True
        ).fetchall()
    }
    forget(connection, library, values["signs"])
    connection.cursor().executemany(
        _SAVE_DELETED,
        [
            (
                values["change"],
                library.id,
                *row,
                values["generation"],
                *copies.get(row[0], _NO_COPY),
            )
            for row in sorted(rows)
        ],
    )
    return len(rows)


def count_deleted(connection: _Connection, library: Library, deleted: int) -> None:
    """Take deleted images from a library's number of images."""
    connection.execute(COUNT_DELETED, {"library": library.id, "deleted": deleted})


_NO_COPY = (None, None)

_BEGIN: LiteralString = """
insert into changes (library_id, kind, image_count, who, address)
values (%(library)s, %(kind)s, 0, %(who)s, %(address)s) returning id, clock_timestamp()
"""
_BEGUN: LiteralString = "select %(change)s::bigint, clock_timestamp()"
END: LiteralString = "update changes set image_count = %(images)s where id = %(change)s"
_SIGNS: LiteralString = """
select sign from {images}
where library_id = {library} and (%(after)s::bigint is null or sign > %(after)s::bigint)
order by sign limit %(count)s
"""
_DELETE_ALL: LiteralString = """
delete from {images} where library_id = {library} and sign = any(%(signs)s){among}
returning sign, updated_at, brief, class_id1, class_id2, digest, embedding, created_at, width,
    height, byte_count
"""
_COPIES: LiteralString = (
    "select sign, webp, region from kept_images"
    " where library_id = {library} and sign = any(%(signs)s){among}"
)
_SAVE_DELETED: LiteralString = """
insert into changed_images (change_id, library_id, sign, updated_at, brief, class_id1, class_id2,
    digest, embedding, created_at, width, height, byte_count, generation, webp, region)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_VERSIONS: LiteralString = (
    "select sign, updated_at from {images}"
    " where library_id = {library} and sign = any(%(signs)s){among}"
)
_ADDED_AT: LiteralString = (
    "select sign, created_at from {images}"
    " where library_id = {library} and sign = any(%(signs)s){among}"
)
_ADDED: LiteralString = """
select sign, updated_at from changed_images
where change_id = %(added)s and (%(after)s::bigint is null or sign > %(after)s::bigint)
order by sign limit %(count)s
"""
_EDITED: LiteralString = """
select sign, updated_at, updated_before, brief, class_id1, class_id2 from changed_images
where change_id = %(change)s and digest is null
"""
_UNDO_EDIT: LiteralString = """
update {images} set brief = %(brief)s, class_id1 = %(class_id1)s::int,
    class_id2 = %(class_id2)s::int, updated_at = %(updated_at)s
where library_id = {library} and sign = %(sign)s{at}
"""
_UNDO_EDIT_NEAREST: LiteralString = """
update {nearest} set class_id1 = %(class_id1)s::int, class_id2 = %(class_id2)s::int
where library_id = {library} and sign = %(sign)s{at}
"""
_DELETED: LiteralString = """
select sign from changed_images
where change_id = %(change)s and generation = %(generation)s
    and (%(after)s::bigint is null or sign > %(after)s::bigint)
order by sign limit %(count)s
"""
_RESTORE: LiteralString = """
insert into {images} (library_id, bucket, sign, digest, brief, class_id1, class_id2, embedding,
    created_at, updated_at, width, height, byte_count)
select {library}, BUCKET, sign, digest, brief, class_id1, class_id2, embedding, created_at,
    updated_at, width, height, byte_count
from changed_images where change_id = %(change)s and sign = any(%(signs)s::bigint[])
on conflict do nothing returning sign
""".replace("BUCKET", signs.BUCKET)
_RESTORE_NEAREST: LiteralString = """
insert into {nearest} (library_id, bucket, sign, class_id1, class_id2, prefix)
select {library}, BUCKET, sign, class_id1, class_id2, nearest_prefix({axes}, embedding)
from changed_images where change_id = %(change)s and sign = any(%(signs)s::bigint[])
""".replace("BUCKET", signs.BUCKET)
_RESTORE_COPIES: LiteralString = """
insert into {kept} (library_id, bucket, sign, webp, region)
select {library}, BUCKET, sign, webp, region
from changed_images where change_id = %(change)s and sign = any(%(signs)s::bigint[])
    and webp is not null
on conflict do nothing
""".replace("BUCKET", signs.BUCKET)
