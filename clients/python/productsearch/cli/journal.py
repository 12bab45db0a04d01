"""What became of each entry of a source: a SQLite file beside it, which moves with it.

A row is keyed by library, key of the entry (a path relative to the source) and content digest. It
is committed with synchronous=FULL before what the service acknowledged counts. The journal is also
the mapping that the service does not offer: own id or path <-> signature.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
import threading
import time
from dataclasses import astuple, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Self

from productsearch.cli.journal_schema import (
    CLEAR,
    IS_OURS,
    SETTLE_OLDER,
    SHARE_OURS,
    STEPS,
    TAKE_BRIEF,
    VERSION,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

    from productsearch.cli.sources import Entry

SENT, DONE, REJECTED = "sent", "done", "rejected"
KEPT: Final = "kept"
_BUSY_S: Final = 10.0


class JournalError(Exception):
    """The journal cannot be used; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One entry and what became of it. ``digest`` is SHA-256 in hex; "" where nothing was read."""

    library: str
    key: str
    digest: str
    image: str
    sku: str
    brief: str
    class_id1: str
    class_id2: str
    origin: bytes
    fit: bool
    state: str
    cont_sign: str = ""
    outcome: str = ""
    reason: str = ""
    message: str = ""
    log_id: str = ""
    at: float = 0.0
    ours: bool = False
    """Whether this source stored the image: it was not in the library before."""

    @property
    def is_stored_as_told(self) -> bool:
        """Whether brief and classes in the library are those of the row, not another's."""
        return self.state == DONE and self.outcome != KEPT

    @property
    def stored_brief(self) -> str:
        """The brief in the library as far as this row knows it; "": that of another."""
        return self.brief if self.is_stored_as_told else ""

    @property
    def told(self) -> tuple[str, str, str, str]:
        """What is stored beside the image, as ``Entry.told``."""
        return (self.sku, self.brief, self.class_id1, self.class_id2)


_COLUMNS: Final = tuple(entry.name for entry in fields(Row))
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM items WHERE library = ?"  # noqa: S608
_REPLACE: Final = (
    f"INSERT OR REPLACE INTO items ({', '.join(_COLUMNS)}) "  # noqa: S608
    f"VALUES ({', '.join('?' * len(_COLUMNS))})"
)


class Journal:
    """The journal of one source, for one library. Safe to use from several threads."""

    def __init__(self, file: Path, library: str, *, must_exist: bool = False) -> None:
        self.file = file
        self.library = library
        if must_exist and not file.exists():
            raise JournalError(f"{file}: there is no journal; nothing was imported from there")
        self._lock = threading.Lock()
        self._writing: contextlib.ExitStack | None = None
        try:
            self._database = sqlite3.connect(
                file, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            with self._lock:
                self._open()
        except sqlite3.Error as wrong:
            raise JournalError(f"{file}: {wrong}") from None

    def _open(self) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if not 0 <= version <= VERSION:
            raise JournalError(f"{self.file}: made by a newer version of productsearch")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        if version == VERSION:
            return
        with self._begun() as database:  # another process may have been quicker
            (version,) = database.execute("PRAGMA user_version").fetchone()
            for statement in itertools.chain(*STEPS[version:]):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {VERSION}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the log beside it is folded into it."""
        self._database.close()
        if self._writing is not None:
            self._writing.close()

    def lock(self) -> None:
        """Make this the only process that imports from the source. Raises JournalError."""
        try:
            import fcntl
        except ModuleNotFoundError:  # not on Windows, where two imports are the user's to avoid
            return
        self._writing = contextlib.ExitStack()
        held = self._writing.enter_context(
            self.file.with_name(f"{self.file.name}.lock").open("w", encoding="utf-8")
        )
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._writing.close()
            raise JournalError(f"{self.file}: another import of this source is running") from None

    def is_empty(self) -> bool:
        """Return whether nothing was imported to the library yet."""
        return not self._all("SELECT 1 FROM items WHERE library = ? LIMIT 1", ())

    def mapping(self) -> dict[str, Any]:
        """Return what `remember` was given last; empty without it."""
        found = self._all("SELECT mapping FROM mappings WHERE library = ?", ())
        return dict(json.loads(found[0][0])) if found else {}

    def remember(self, mapping: dict[str, Any]) -> None:
        """Keep what the columns of the source mean. Raises JournalError."""
        with self._transaction() as database:
            row = (self.library, json.dumps(mapping))
            database.execute("INSERT OR REPLACE INTO mappings VALUES (?, ?)", row)

    def rows_of(self, key: str) -> list[Row]:
        """Return what is known of an entry: a row for each content that it had."""
        return self._rows(f"{_SELECT} AND key = ?", key)

    def done_with(self, digest: str) -> Row | None:
        """Return a row of an entry with this content that is in the library."""
        rows = self._rows(f"{_SELECT} AND digest = ? AND cont_sign != '' LIMIT 1", digest)
        return rows[0] if rows else None

    def found(self, name: str) -> list[Row]:
        """Return the rows whose own id, path or signature is ``name``."""
        rows = self._rows(
            f"{_SELECT} AND cont_sign != '' AND ? IN (sku, key, image, cont_sign) ORDER BY key",
            name,
        )
        tail = f"/{name}"
        return rows or self._rows(
            f"{_SELECT} AND cont_sign != '' AND substr(key, ?) = ? ORDER BY key", -len(tail), tail
        )

    def users_of(self, cont_sign: str) -> list[Row]:
        """Return the rows whose image is stored under this signature."""
        return self._rows(f"{_SELECT} AND cont_sign = ?", cont_sign)

    def has_its_brief(self, cont_sign: str) -> bool:
        """Return whether the image has the brief of one of the rows."""
        return any(row.is_stored_as_told for row in self.users_of(cont_sign))

    def rows(self, state: str) -> Iterator[Row]:
        """Yield all rows in a state, by key."""
        after = ("", "")
        further = f"{_SELECT} AND state = ? AND (key, digest) > (?, ?) ORDER BY key, digest"
        while True:
            batch = self._rows(f"{further} LIMIT 1000", state, *after)
            yield from batch
            if not batch:
                return
            after = (batch[-1].key, batch[-1].digest)

    def in_library(self) -> Iterator[Row]:
        """Yield the rows whose image is in the library, by key."""
        for state in (DONE, REJECTED):
            yield from (row for row in self.rows(state) if row.cont_sign)

    def counts(self) -> dict[str, int]:
        """Return how many rows there are by state."""
        found = self._all("SELECT state, count(*) FROM items WHERE library = ? GROUP BY state", ())
        return {SENT: 0, DONE: 0, REJECTED: 0} | dict(found)

    def write(self, rows: Iterable[Row]) -> None:
        """Write rows in one transaction, on disk when this returns. Raises JournalError.

        A row replaces the rejected and the unanswered ones of its key. An image has one brief: the
        last row that stored its own takes that of other rows with the same signature.
        """
        acknowledged = [*rows]
        with self._transaction() as database:
            for row in acknowledged:
                place = (row.library, row.key, row.digest)
                database.execute(SETTLE_OLDER, place)
                database.execute(CLEAR, place)
                image = {"library": row.library, "sign": row.cont_sign}
                known = row.cont_sign and database.execute(IS_OURS, image).fetchone()
                database.execute(_REPLACE, astuple(replace(row, ours=row.ours or bool(known))))
                if row.cont_sign and row.is_stored_as_told:
                    database.execute(TAKE_BRIEF, image | {"key": row.key, "digest": row.digest})
                if row.cont_sign and row.ours:
                    database.execute(SHARE_OURS, image)

    def forget(self, rows: Iterable[Row]) -> None:
        """Remove rows, on disk when this returns. Raises JournalError."""
        keys = [(row.library, row.key, row.digest) for row in rows]
        with self._transaction() as database:
            database.executemany(
                "DELETE FROM items WHERE library = ? AND key = ? AND digest = ?", keys
            )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                with self._begun() as database:
                    yield database
            except sqlite3.Error as wrong:
                raise JournalError(f"{self.file}: {wrong}") from None

    @contextlib.contextmanager
    def _begun(self) -> Iterator[sqlite3.Connection]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def _rows(self, statement: str, *values: object) -> list[Row]:
        found = self._all(statement, values)
        return [Row(**dict(zip(_COLUMNS, row, strict=True))) for row in found]

    def _all(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        with self._lock:
            try:
                return self._database.execute(statement, (self.library, *values)).fetchall()
            except sqlite3.Error as wrong:
                raise JournalError(f"{self.file}: {wrong}") from None


def row_of(entry: Entry, library: str, *, digest: str, fit: bool, state: str, **told: Any) -> Row:
    """Return the row of an entry, made now."""
    from productsearch.cli.sources.entry import encodable

    return Row(
        library=library,
        key=entry.key,
        digest=digest,
        image=encodable(entry.image),
        sku=entry.sku,
        brief=entry.brief,
        class_id1=entry.class_id1,
        class_id2=entry.class_id2,
        origin=entry.origin,
        fit=fit,
        state=state,
        at=time.time(),
        **told,
    )
