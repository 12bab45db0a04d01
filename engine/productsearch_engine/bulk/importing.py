"""Loads rows into a library, in batches that are there as a whole or not at all.

Knows the order of the steps. Does not know SQL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from shlex import quote

from productsearch_engine.bulk.embedding import Describer
from productsearch_engine.bulk.fields import Incoming, RowError, SecondHeadError
from productsearch_engine.bulk.source import Read, Source
from productsearch_engine.limits import IMPORT_BATCH_BYTES, IMPORT_BATCH_ROWS
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.libraries import Library, LibraryError
from productsearch_engine.store.rows import Progress, Row

_IMAGES_AT_ONCE = 64
"""Rows of a batch if they bring images: their files are in memory together."""


@dataclass
class _Batch:
    """Rows that are loaded together; ``progress`` has one entry more than they."""

    progress: list[Progress]
    rows: list[Row] = field(default_factory=list)

    def put(self, row: Row, progress: Progress) -> None:
        self.rows.append(row)
        self.progress.append(progress)


class Importer:
    """Imports files into one library; used under ``store.rights``."""

    def __init__(
        self,
        rows: BulkRows,
        library: Library,
        *,
        describer: Callable[[], Describer],
        require: Callable[[], None],
        shortage: Callable[[list[Row]], str | None],
        rejected: Callable[[RowError], None] | None = None,
    ):
        """``describer`` is asked when the first image comes; ``rejected`` takes wrong rows.

        ``require`` raises LibraryError before a batch if the right to load is lost, and
        ``shortage`` says before each batch why the database has no room for it, or nothing. Without
        ``rejected`` the first wrong row ends the import. That of another file's head always does.
        """
        self._rows = rows
        self._library = library
        self._describer = describer
        self._require = require
        self._shortage = shortage
        self._rejected = rejected

    def load(self, source: Source, tell: Callable[[Progress], None]) -> Progress:
        """Load a file from where an earlier run stopped; return what became of all its rows.

        Rows before a wrong one are stored when RowError is raised, rows before a full library or a
        full disk when LibraryError is. Raises OSError, psycopg.Error.
        """
        done = self._rows.progress(self._library, source.identity)
        tell(done)
        for group in _ahead(_grouped(source.rows(done.position, done.rows_read))):
            self._require()
            self._library = self._rows.now(self._library)
            wrong, batch = self._batch(group, done)
            if shortage := self._shortage_for(batch.rows):
                raise LibraryError(
                    f"{shortage}; {done.rows_read} rows of {source.file} are done. Make room, and"
                    " run the same import again: it goes on from there"
                )
            loaded = self._rows.load(self._library, batch.rows, source.identity, batch.progress)
            added, taken = loaded.added, loaded.taken
            done = replace(
                batch.progress[taken],
                added=done.added + added,
            )
            tell(done)
            if taken < len(batch.rows):
                raise LibraryError(
                    f"{self._library.name!r} is full; {done.rows_read} rows of {source.file} are"
                    f" done. Give it room with library grow {quote(self._library.name)}, and run"
                    " the same import again: it goes on from there"
                )
            if wrong is not None:
                raise LibraryError(f"{source.file}: {wrong}")
        return done

    def _shortage_for(self, rows: list[Row]) -> str | None:
        """Return why there is no room for those of the rows that are not stored, or nothing."""
        if self._shortage(rows) is None:
            return None
        first = {row.digest: row for row in reversed(rows)}
        stored = self._rows.stored(self._library, [*first])
        new = [row for digest, row in first.items() if digest not in stored]
        return self._shortage(new) if new else None

    def _batch(self, group: list[Read], done: Progress) -> tuple[RowError | None, _Batch]:
        """Return what is to be loaded of some lines, and the wrong row that ends it, if any."""
        batch = _Batch([done])
        for (_, number, end), row in zip(group, self._complete(group), strict=True):
            if row is None:  # it is stored already
                batch.progress[-1] = replace(batch.progress[-1], position=end, rows_read=number)
                continue
            if isinstance(row, RowError):
                if self._rejected is None or isinstance(row, SecondHeadError):
                    return row, batch
                self._rejected(row)
                before = batch.progress[-1]
                # The rows before a wrong one count as done together with it.
                batch.progress[-1] = replace(
                    before, position=end, rows_read=number, rejected=before.rejected + 1
                )
                continue
            batch.put(row, replace(batch.progress[-1], position=end, rows_read=number))
        return None, batch

    def _complete(self, group: list[Read]) -> Iterator[Row | RowError | None]:
        """Yield the rows with their vectors, which are made where an image comes instead.

        None stands for an image that is stored already.
        """
        images: dict[int, tuple[Incoming, bytes]] = {}
        made: dict[int, Row | RowError | None] = {}
        for row, number, _ in group:
            if isinstance(row, Incoming) and row.image is not None:
                try:
                    images[number] = row, self._describer().content(row)
                except RowError as error:
                    made[number] = error
        if images:
            made |= self._described(images)
        for row, number, _ in group:
            yield made[number] if number in made else row if isinstance(row, RowError) else row.row

    def _described(
        self, images: dict[int, tuple[Incoming, bytes]]
    ) -> dict[int, Row | RowError | None]:
        """Return the complete rows by their numbers; stored images are not embedded again."""
        digests = {
            number: hashlib.sha256(content).digest() for number, (_, content) in images.items()
        }
        stored = self._rows.stored(self._library, [*digests.values()])
        made: dict[int, Row | RowError | None] = {
            number: None for number, digest in digests.items() if digest in stored
        }
        new = [number for number in images if number not in made]
        rows = self._describer().described(
            [images[number] for number in new], copies=self._library.keep_images
        )
        return made | dict(zip(new, rows, strict=True))


def _grouped(rows: Iterable[Read]) -> Iterator[list[Read]]:
    group: list[Read] = []
    size = images = 0
    for read in rows:
        group.append(read)
        if isinstance(read.row, Incoming):
            size += len(read.row.row.vector) + len(read.row.row.copy or b"")
            images += read.row.image is not None
        full = len(group) >= IMPORT_BATCH_ROWS or size >= IMPORT_BATCH_BYTES
        if full or images >= _IMAGES_AT_ONCE:
            yield group
            group, size, images = [], 0, 0
    if group:
        yield group


def _ahead(groups: Iterator[list[Read]]) -> Iterator[list[Read]]:
    """Yield the groups; while one is loaded, a thread reads the next."""
    with ThreadPoolExecutor(1, thread_name_prefix="reader") as reader:
        coming = reader.submit(next, groups, None)
        while (group := coming.result()) is not None:
            coming = reader.submit(next, groups, None)
            yield group
