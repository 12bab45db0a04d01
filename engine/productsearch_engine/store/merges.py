"""Merges two images into one: what the kept one has not is taken over, and the other is deleted.

It is one change of the journal and one transaction: after a crash it is done or not begun. Knows
rows. Does not know which images are doubles.
"""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg

from productsearch_engine.store import bucketed_journal, journal_edits
from productsearch_engine.store import journal_statements as texts
from productsearch_engine.store.adds import together
from productsearch_engine.store.bucketed import by_bucket, take_turn
from productsearch_engine.store.journal_steps import Step
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.statements import composed

_Connection = psycopg.Connection[Any]

EDIT = Step(journal_edits.EDIT.replace(journal_edits.BEGIN, texts.GIVEN), journal_edits.edit)
DELETE = Step(texts.DELETE.replace(texts.BEGIN, texts.GIVEN), bucketed_journal.delete)


def merge(
    connection: _Connection,
    library: Library,
    versions: dict[int, int],
    edited: dict[str, Any] | None,
    deleted: dict[str, Any],
    author: dict[str, str],
) -> int | None:
    """Make an edit and a delete as one change; return its number.

    None: the images of ``versions`` (by sign) are not all as they were then. Nothing is changed.
    """
    with connection.transaction():
        if library.bucketed:
            together(connection)
            take_turn(connection, library)
        found: dict[int, int] = {}
        groups = by_bucket(versions) if library.bucketed else [(0, sorted(versions))]
        for bucket, some in groups:
            there = {"signs": some, "bucket": bucket}
            found |= dict(connection.execute(composed(_LOCK, library), there).fetchall())
        if found != versions:
            return None
        images = 1 if edited is None else 2
        values = author | {"library": library.id, "images": images}
        row = connection.execute(_BEGIN, values).fetchone()
        assert row is not None  # noqa: S101 - an insert without conflict returns its row
        change = int(row[0])
        if edited is not None:
            EDIT.make(connection, library, edited | author | {"change": change})
        DELETE.make(connection, library, deleted | author | {"change": change})
        connection.execute(_END, {"change": change, "images": images})
    return change


_LOCK: LiteralString = (
    "select sign, (extract(epoch from updated_at) * 1000000)::bigint from {images}"
    " where library_id = {library} and sign = any(%(signs)s){at} order by sign for update"
)
_BEGIN: LiteralString = """
insert into changes (library_id, kind, image_count, who, address)
values (%(library)s, 'merge', %(images)s, %(who)s, %(address)s) returning id
"""
_END: LiteralString = "update changes set image_count = %(images)s where id = %(change)s"
