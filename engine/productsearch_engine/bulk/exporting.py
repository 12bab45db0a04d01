"""Writes a library to a file, or to files of a folder: complete ones, or none under their names.

Knows files. Does not know SQL.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

from productsearch_engine.bulk.heads import Head, head_line
from productsearch_engine.bulk.lines import line
from productsearch_engine.limits import EXPORT_FILE_ROWS
from productsearch_engine.progress import Bar
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.libraries import Library, LibraryError
from productsearch_engine.store.rows import Row


def head_of(library: Library, images: int) -> Head:
    """Return the first line's content, for all the images of an export."""
    return Head(
        library=library.name,
        embedding=library.embedding,
        dimensions=library.dimensions,
        images=images,
        keep_images=library.keep_images,
        calibration=library.calibration,
    )


def export(rows: BulkRows, library: Library, to: Path, file_rows: int = EXPORT_FILE_ROWS) -> int:
    """Write all images of a library, as they are at one moment, and return how many.

    to: a new file, or a folder, which gets a file for each ``file_rows`` images.
    Raises LibraryError, LibraryGoneError, OSError.
    """
    into_folder = to.is_dir()
    if not into_folder:
        _require_new(to)
    if into_folder and any(to.glob("*.ndjson")):
        raise LibraryError(f"{to} has .ndjson files already")
    written = 0
    with rows.reading(library) as found:
        head, bar = head_of(library, found.images), Bar(f"export of {library.name}", found.images)
        number = 0
        while True:
            part = islice(found, file_rows) if into_folder else found
            file = to / f"{number:05}.ndjson" if into_folder else to
            count = _write(file, head, part, bar, written, empty=number == 0)
            written += count
            number += 1
            if not into_folder or count < file_rows:
                break
    bar(max(written, 1))
    return written


def _write(
    file: Path, head: Head, rows: Iterator[Row], bar: Bar, before: int, *, empty: bool
) -> int:
    """Write one file under another name first; return its number of rows, 0 for no file.

    Raises LibraryError if another export is writing it.
    """
    count = 0
    new = file.with_name(f"{file.name}.part")
    with new.open("a", encoding="utf-8") as stream:
        _claim(stream, new, file)
        try:
            _require_new(file)
            stream.truncate(0)
            stream.write(head_line(head))
            for row in rows:
                stream.write(line(row))
                count += 1
                if count % 1000 == 0:
                    bar(before + count)
            stream.flush()
            os.fsync(stream.fileno())
            if count or empty:
                _require_new(file)
                new.replace(file)
        except OSError as error:
            # A failed write does not know of which file.
            raise OSError(error.errno, error.strerror, str(new)) from None
        finally:
            new.unlink(missing_ok=True)
    return count


def _require_new(file: Path) -> None:
    """Raise LibraryError if a file, or a link, has the name: somebody may have made it since."""
    if file.is_symlink() and not file.exists():
        raise LibraryError(f"{file} is a link that leads nowhere")
    if file.exists():
        raise LibraryError(f"{file} is there already")


def _claim(stream: IO[str], new: Path, file: Path) -> None:
    """Lock a file that is being written, until it is closed. Raises LibraryError."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It may have got its own name, or have been removed, before it was locked.
        is_it = os.path.samestat(os.fstat(stream.fileno()), new.stat())
    except (BlockingIOError, FileNotFoundError):
        is_it = False
    if not is_it:
        raise LibraryError(f"another export is writing {file}")
