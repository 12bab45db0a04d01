"""What people change in a library: edits and deletes that can be undone for a day.

Each change, of one image or of a thousand, is one statement together with its entry in the
journal: after a crash it is done or not begun. An undo restores what nobody has changed since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg import errors
from psycopg_pool import ConnectionPool

from productsearch_engine.limits import CHANGES_KEPT, CHANGES_PEOPLE_MAX, UNDO_S
from productsearch_engine.store import (
    bucketed_journal,
    journal_edits,
    merges,
    purges,
    room,
    undoing,
)
from productsearch_engine.store import journal_statements as texts
from productsearch_engine.store.images import LibraryFullError, LibraryGoneError
from productsearch_engine.store.journal_steps import BATCH, Step, in_batches
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.undoing import Undone

Kind = Literal["add", "edit", "delete", "merge", "undo", "grow", "rotate"]


@dataclass(frozen=True, kw_only=True)
class Author:
    """Who changes something, and from where."""

    name: str
    address: str


@dataclass(frozen=True, kw_only=True)
class Values:
    """New values of an edit: of class ids those that are named in ``sets``."""

    brief: bytes | None = None
    class_id1: int | None = None
    class_id2: int | None = None
    briefs: Mapping[int, bytes] = field(default_factory=dict)
    """Those of some images by their signs; the others get ``brief``."""
    sets: frozenset[str] = frozenset()
    """``class_id1``, ``class_id2``: set to the value, or removed if that is None."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Which changes are listed; what is None does not filter."""

    kind: Kind | None = None
    who: str | None = None
    undoable: bool = False
    """Only those that can be undone."""


@dataclass(frozen=True)
class Change:
    """An entry of the journal, as it is selected."""

    id: int
    kind: Kind
    image_count: int
    who: str
    address: str
    changed_at: datetime
    undone: bool
    undoable: bool
    erased: bool
    """Whether nothing can be undone because all its images were purged."""
    sign: int | None
    """The image that was added or changed, if it is one, for as long as an undo knows it."""
    of_embedding_before: bool
    """Whether nothing can be undone: the library has another embedding since, and no copies."""


class Journal:
    """Changes of one database's libraries."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def edit(
        self,
        library: Library,
        signs: list[int],
        values: Values,
        author: Author,
        *,
        versions: Sequence[int] | None = None,
    ) -> tuple[int | None, int]:
        """Change those of the images that are stored; return the change's number and how many.

        ``versions``: of the images as they were seen; all are changed if all still have these,
        and none otherwise. Raises LibraryGoneError.
        """
        edited = _edited(signs, values, versions)
        return self._change(library, Step(journal_edits.EDIT, journal_edits.edit), author, edited)

    def delete(self, library: Library, signs: list[int], author: Author) -> tuple[int | None, int]:
        """Delete those of the images that are stored; return the change's number and how many."""
        values = {"signs": signs, "generation": library.generation, "kind": "delete"}
        change = Step(texts.DELETE, bucketed_journal.delete)
        return self._change(library, change, author, values)

    def merge(
        self,
        library: Library,
        versions: dict[int, int],
        dropped: int,
        values: Values | None,
        author: Author,
    ) -> int | None:
        """Delete one of two images, give the other one values, if any; return the change's number.

        ``versions``: of both images, by sign. None: one of them is not as it was any more.
        """
        (kept,) = {*versions} - {dropped}
        edited = None if values is None else _edited([kept], values)
        deleted = {"signs": [dropped], "generation": library.generation}
        with self._connection() as connection:
            return merges.merge(connection, library, versions, edited, deleted, _written_by(author))

    def empty(self, library: Library, author: Author, most: int) -> tuple[int | None, int]:
        """Delete all images, at most ``most``; return the change's number and how many.

        It is one transaction: after a crash all are deleted or none. Raises LibraryGoneError.
        """
        values: dict[str, Any] = {"library": library.id, "generation": library.generation}
        values |= _written_by(author)
        with self._connection() as connection, connection.transaction() as transaction:
            row = connection.execute(texts.BEGIN_DELETE, values).fetchone()
            values["change"] = change = row[0] if row else None
            change_some = Step(texts.EMPTY, bucketed_journal.empty)
            deleted = in_batches(connection, library, change_some, values, most)
            if not deleted:
                raise psycopg.Rollback(transaction)
            connection.execute(texts.END_DELETE, values | {"deleted": deleted})
        return (change, deleted) if deleted else (None, 0)

    def note_add(
        self, library: Library, sign: int, author: Author, change: int | None = None
    ) -> int | None:
        """Write down that an image was added, and return the change's number.

        ``change``: an add by the same person that this one belongs to, so that one undo takes all
        of a folder back. If it was undone since, this is a change of its own.
        """
        values = {"sign": sign, "change": change, "seconds": UNDO_S}
        noting = Step(texts.NOTE_ADD, bucketed_journal.note_add)
        return self._change(library, noting, author, values)[0]

    def note(
        self, library: Library, kind: Literal["grow", "rotate"], images: int, author: Author
    ) -> int:
        """Write down what is done to a library itself, room for so many images or a new key.

        Returns the change's number.
        """
        values = {"library": library.id, "kind": kind, "images": images} | _written_by(author)
        with self._connection() as connection:
            row = connection.execute(texts.NOTE, values).fetchone()
        assert row is not None  # noqa: S101 - an insert without conflict returns its row
        return int(row[0])

    def undo(self, library: Library, change_id: int, author: Author) -> tuple[int, int]:
        """Undo a change as ``take_back`` does; return of how many images, and how many it had."""
        undone = self.take_back(library, change_id, author)
        return undone.restored, undone.wanted

    def take_back(self, library: Library, change_id: int, author: Author) -> Undone:
        """Undo a change.

        Raises NothingToUndoError, ErasedError, ChangedSinceError, OtherEmbeddingError,
        RoomUsedError, LibraryFullError, LibraryGoneError.
        """
        values = {
            "change": change_id,
            "library": library.id,
            "generation": library.generation,
            "seconds": UNDO_S,
            **_written_by(author),
        }
        try:
            return self._take_back(library, values)
        except LibraryFullError:
            with self._connection() as connection:
                if not room.take_back(connection, library):
                    raise
        return self._take_back(library, values)

    def _take_back(self, library: Library, values: dict[str, Any]) -> Undone:
        with self._connection() as connection, connection.transaction():
            return undoing.undo(connection, library, values)

    def last(
        self, library: Library, count: int, chosen: Chosen, before: int | None = None
    ) -> list[Change]:
        """Return up to ``count`` of a library's changes, the newest first.

        ``before``: only those that were made before the change of this number.
        """
        limits = {"count": count, "before": before}
        return self._select(texts.LAST, library, asdict(chosen) | limits)

    def undoable(self, library: Library) -> Iterator[Change]:
        """Yield all changes that can be undone, the newest first."""
        before = None
        while page := self.last(library, BATCH, Chosen(undoable=True), before):
            yield from page
            before = page[-1].id

    def people(self, library: Library) -> list[str]:
        """Return who has made the changes, at most ``CHANGES_PEOPLE_MAX`` names."""
        values = {"library": library.id, "count": CHANGES_PEOPLE_MAX}
        with self._connection() as connection:
            return [row[0] for row in connection.execute(texts.PEOPLE, values)]

    def find(self, library: Library, change_id: int) -> Change | None:
        """Return a change of this library, or None."""
        found = self._select(texts.FIND, library, {"change": change_id})
        return found[0] if found else None

    def purge(self, library: Library, signs: list[int]) -> int:
        """Erase images everywhere, also where an undo would find them; return how many."""
        with self._connection() as connection, connection.transaction():
            return purges.purge(connection, library, signs)

    def forget_old(self) -> None:
        """Forget what an undo of changes that are older than a day would need, in all libraries."""
        with self._connection() as connection:
            connection.execute(texts.FORGET_ALL, {"seconds": UNDO_S})

    def _select(self, text: Any, library: Library, values: dict[str, Any]) -> list[Change]:
        known = {"library": library.id, "generation": library.generation, "seconds": UNDO_S}
        values = known | values
        with self._connection() as connection:
            rows = connection.execute(text, values).fetchall()
        return [Change(*row) for row in rows]

    def _change(
        self, library: Library, change: Step, author: Author, values: dict[str, Any]
    ) -> tuple[int | None, int]:
        values = values | _written_by(author)
        old = {"library": library.id, "seconds": UNDO_S, "kept": CHANGES_KEPT}
        with self._connection() as connection:
            row = change.make(connection, library, values)
            # In a statement of its own: whether it succeeds says nothing of the change.
            connection.execute(texts.FORGET, old)
            connection.execute(texts.FORGET_CHANGES, old)
        return (None, 0) if row is None else (row[0], int(row[1]))

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            with self._pool.connection() as connection:
                yield connection
        except errors.UndefinedTable:
            raise LibraryGoneError from None
        except errors.CheckViolation as error:
            if error.diag.constraint_name == "libraries_room":
                raise LibraryFullError from None
            raise


def _edited(
    signs: list[int], values: Values, versions: Sequence[int] | None = None
) -> dict[str, Any]:
    return {
        "signs": signs,
        "versions": None if versions is None else list(versions),
        "brief": values.brief,
        "brief_signs": [*values.briefs],
        "briefs": [*values.briefs.values()],
        "class_id1": values.class_id1,
        "class_id2": values.class_id2,
        "sets_class_id1": "class_id1" in values.sets,
        "sets_class_id2": "class_id2" in values.sets,
    }


def _written_by(author: Author) -> dict[str, str]:
    return {"who": author.name, "address": author.address}
