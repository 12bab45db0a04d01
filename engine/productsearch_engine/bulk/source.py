"""Reads a file of rows from any position, and knows it again.

Knows files and the format's lines. Does not know the database.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from productsearch_engine.bulk.fields import Incoming, RowError
from productsearch_engine.bulk.lines import Head, read, read_head
from productsearch_engine.limits import IMPORT_LINE_BYTES_MAX
from productsearch_engine.store.libraries import LibraryError

_EDGE = 1 << 20


class Read(NamedTuple):
    """A line of a file: its row, or what is wrong with it, and where the next one begins."""

    row: Incoming | RowError
    number: int
    end: int


@dataclass(frozen=True)
class Source:
    """One file of rows."""

    file: Path
    identity: str
    """The same for the same content: of its size, its beginning and its end."""
    size: int
    head: Head | None
    first: int
    """Where the first row begins."""

    @classmethod
    def of(cls, file: Path) -> Source:
        """Look at a file. Raises LibraryError, OSError."""
        with file.open("rb") as stream:
            beginning = stream.read(_EDGE)
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _EDGE))
            digest = hashlib.sha256(beginning + stream.read(_EDGE)).hexdigest()
            stream.seek(0)
            first = stream.readline(IMPORT_LINE_BYTES_MAX)
        try:
            head = read_head(first)
        except LibraryError as error:
            raise LibraryError(f"{file}: {error}") from None
        return cls(file, f"{size}-{digest}", size, head, len(first) if head else 0)

    def rows(self, position: int, number: int) -> Iterator[Read]:
        """Yield the rows from a position on; ``number``: of the rows before it."""
        with self.file.open("rb") as stream:
            stream.seek(max(position, self.first))
            while text := stream.readline(IMPORT_LINE_BYTES_MAX):
                end = stream.tell()
                if not text.strip():
                    continue
                number += 1
                yield Read(self._row(text, number), number, end)

    def _row(self, text: bytes, number: int) -> Incoming | RowError:
        if len(text) == IMPORT_LINE_BYTES_MAX and not text.endswith(b"\n"):
            return RowError(number, "(all)", f"longer than {IMPORT_LINE_BYTES_MAX} bytes")
        try:
            return read(text, number, self.head)
        except RowError as error:
            return error


def files_of(path: Path) -> list[Path]:
    """Return a file, or the files of a folder in order. Raises LibraryError."""
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.ndjson"))
    if not found:
        raise LibraryError(
            f"{path} has no .ndjson file: images are loaded by a list of them, a line an image, as"
            ' {"brief": "mug 1", "image": "1.jpg"}; `productsearch import` takes a folder of images'
        )
    return found
