"""Undoes a change of the journal: restores what nobody has changed since.

Runs in its caller's transaction. An add is undone by a delete, which is a change as any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from productsearch_engine.store import bucketed_journal
from productsearch_engine.store import journal_statements as texts
from productsearch_engine.store.journal_steps import Step, in_batches
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.statements import composed
from productsearch_engine.store.undo_errors import (
    ChangedSinceError,
    ErasedError,
    NothingToUndoError,
    OtherEmbeddingError,
    RoomUsedError,
)

_Connection = psycopg.Connection[Any]


@dataclass(frozen=True, kw_only=True)
class Undone:
    """What an undo did."""

    restored: int
    """Images, or places of more room."""
    wanted: int
    """Of how many the change was."""
    change: int
    """The change that the undo is itself: a delete, if images were added."""


def undo(connection: _Connection, library: Library, values: dict[str, Any]) -> Undone:
    """Undo the change of ``values``. Raises what ``Journal.undo`` does."""
    row = connection.execute(texts.BEGIN_UNDO, values).fetchone()
    if row is None:
        raise NothingToUndoError
    kind, wanted = str(row[0]), int(row[1])
    if kind == "grow":
        return _shrunk(connection, values, wanted)
    left = connection.execute(texts.IS_LEFT, values).fetchone()
    if left is None:
        raise ErasedError
    if kind == "add":
        return _deleted(connection, library, values, wanted)
    # Of a merge the edit first: the image that comes back is none of it.
    restored = 0 if kind == "delete" else _edited(connection, library, values)
    if kind in ("delete", "merge"):
        undoing = Step(texts.UNDO_DELETE[library.keep_images], bucketed_journal.undo_delete)
        back = in_batches(connection, library, undoing, values, wanted)
        connection.execute(texts.COUNT_BACK, values | {"restored": back})
        restored += back
    if not restored:
        raise ChangedSinceError if left[0] else OtherEmbeddingError
    return Undone(restored=restored, wanted=wanted, change=_noted(connection, values, restored))


def _edited(connection: _Connection, library: Library, values: dict[str, Any]) -> int:
    """Give the images of an edit their values of before; return of how many."""
    if library.bucketed:
        return bucketed_journal.undo_edit(connection, library, values)
    row = connection.execute(composed(texts.UNDO_EDIT, library), values).fetchone()
    return int(row[0]) if row else 0


def _deleted(
    connection: _Connection, library: Library, values: dict[str, Any], wanted: int
) -> Undone:
    """Delete what was added, in batches: one statement would take too long for a folder."""
    row = connection.execute(texts.BEGIN_DELETE, values).fetchone()
    assert row is not None  # noqa: S101 - an insert without conflict returns its row
    delete = {"added": values["change"], "change": int(row[0])}
    deleting = Step(texts.UNDO_ADD, bucketed_journal.undo_add)
    deleted = in_batches(connection, library, deleting, values | delete, wanted)
    if not deleted:
        raise ChangedSinceError
    connection.execute(texts.END_DELETE, values | delete | {"deleted": deleted})
    return Undone(restored=deleted, wanted=wanted, change=delete["change"])


def _shrunk(connection: _Connection, values: dict[str, Any], by: int) -> Undone:
    """Take room back that is not used."""
    if not connection.execute(texts.SHRINK, values | {"by": by}).rowcount:
        raise RoomUsedError
    return Undone(restored=by, wanted=by, change=_noted(connection, values, 0))


def _noted(connection: _Connection, values: dict[str, Any], restored: int) -> int:
    row = connection.execute(texts.NOTE_UNDO, values | {"restored": restored}).fetchone()
    assert row is not None  # noqa: S101 - an insert without conflict returns its row
    return int(row[0])
