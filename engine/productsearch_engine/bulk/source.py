"""Reads a file of rows from any position, and knows it again.

Knows files and the format's lines. Does not know the database.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from productsearch_engine.bulk.fields import Incoming, RowError
from productsearch_engine.bulk.heads import Head, read_head
from productsearch_engine.bulk.lines import read
from productsearch_engine.limits import IMPORT_LINE_BYTES_MAX
from productsearch_engine.progress import Bar
from productsearch_engine.store.libraries import LibraryError

_BLOCK = 1 << 20
_SAMPLES = 200
_UTF16 = "UTF-16: write it as UTF-8"
_OTHERS = (
    (b"\x1f\x8b", "packed by gzip: unpack it"),
    (b"PK\x03\x04", "packed by zip: unpack it"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd: unpack it"),
    (b"BZh", "packed by bzip2: unpack it"),
    (b"\xfd7zXZ", "packed by xz: unpack it"),
    *((each, _UTF16) for each in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b"{\0", b"\0{")),
)
"""How files begin that are of rows once something was done to them."""
_IMAGE = re.compile(rb'"image"\s*:\s*("(?:[^"\\]|\\.)*+")')
_TOLD_BYTES = 1 << 30
"""A file that takes longer than a moment to read."""


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
    """The same for the same content, and the same files of images, whatever its name."""
    size: int
    head: Head | None
    first: int
    """Where the first row begins."""

    @classmethod
    def of(cls, file: Path) -> Source:
        """Look at a file. Raises LibraryError, OSError."""
        if file.exists() and not file.is_file() and not file.is_dir():
            raise LibraryError(
                f"{file} is a pipe or a device, where an import that was stopped cannot go on:"
                " write it to a file first"
            )
        with file.open("rb") as stream:
            first = b"\n"
            while first and not first.strip():
                first = stream.readline(IMPORT_LINE_BYTES_MAX)
            begins = stream.tell()
            identity, size = _identity(file, stream)
        if not first:
            raise LibraryError(f"{file} is empty: an export has a first line even of no images")
        if wrong := next((told for each, told in _OTHERS if first.startswith(each)), None):
            raise LibraryError(f"{file} is {wrong} first")
        if _is_table(first):
            raise LibraryError(
                f"{file} is no NDJSON, which this command takes: `productsearch import` takes CSV,"
                " Parquet and folders of images"
            )
        try:
            head = read_head(first)
        except LibraryError as error:
            raise LibraryError(f"{file}: {error}") from None
        return cls(file, identity, size, head, begins if head else 0)

    def rows(self, position: int, number: int) -> Iterator[Read]:
        """Yield the rows from a position on; ``number``: of the rows before it."""
        with self.file.open("rb") as stream:
            stream.seek(max(position, self.first))
            while text := stream.readline(IMPORT_LINE_BYTES_MAX):
                rest = text
                while _is_part(rest):
                    rest = stream.readline(IMPORT_LINE_BYTES_MAX)
                end = stream.tell()
                if not text.strip():
                    continue
                number += 1
                yield Read(self._row(text, number), number, end)

    def sampled(self) -> list[Incoming]:
        """Return some rows from all over the file, wrong ones left out."""
        found = []
        step = max((self.size - self.first) // _SAMPLES, 1)
        with self.file.open("rb") as stream:
            for position in range(self.first, self.size, step):
                stream.seek(position)
                if position > self.first:
                    stream.readline(IMPORT_LINE_BYTES_MAX)  # what is left of a row
                row = self._row(stream.readline(IMPORT_LINE_BYTES_MAX), 0)
                if isinstance(row, Incoming):
                    found.append(row)
        return found

    def _row(self, text: bytes, number: int) -> Incoming | RowError:
        if _is_part(text):
            return RowError(number, "(all)", f"longer than {IMPORT_LINE_BYTES_MAX} bytes")
        try:
            return read(text, number, self.head)
        except RowError as error:
            if error.field == "(all)" and not text.endswith(b"\n"):
                return RowError(
                    number, error.field, f"{error.wrong}; the file ends here: it may be cut short"
                )
            return error


def _is_part(text: bytes) -> bool:
    """Return whether a line goes on after what was read of it."""
    return len(text) == IMPORT_LINE_BYTES_MAX and not text.endswith(b"\n")


def _is_table(first: bytes) -> bool:
    """Return whether the first line is one of a CSV file with a header, or of Parquet."""
    text = first.removeprefix(codecs.BOM_UTF8).strip()
    if text.startswith(b"PAR1"):
        return True
    return not text.startswith((b"{", b"[")) and any(mark in text for mark in (b",", b";", b"\t"))


def _identity(file: Path, stream: BinaryIO) -> tuple[str, int]:
    """Return the digest and the size of an open file; tell how far it is.

    Of image files that it names the digest has size and time: the same list can be of others.
    """
    size = stream.seek(0, 2)
    stream.seek(0)
    bar = Bar(f"look at {file.name}", size) if size > _TOLD_BYTES else None
    # The quickest of those that there are: all of a file is read once more for it.
    digest, done, told = hashlib.blake2b(digest_size=32), 0, 0
    while part := stream.readline(_BLOCK):
        digest.update(part)
        done += len(part)
        for name in _IMAGE.findall(part) if b'"image"' in part else ():
            digest.update(_state(file.parent, name))
        if bar and done - told > _BLOCK:
            bar(done)
            told = done
    if bar:
        bar(done)
    return f"{done}-{digest.hexdigest()}", done


def _state(folder: Path, name: bytes) -> bytes:
    """Return what tells a file from another one that takes its place; ``name`` is of JSON."""
    try:
        found = (folder / json.loads(name)).stat()
    except (OSError, ValueError):
        return b"none"
    return b"%d-%d" % (found.st_size, found.st_mtime_ns)


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
