"""Lists of images: a row of named values for each, from CSV, NDJSON or Parquet."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from productsearch.cli.extras import how_to_install
from productsearch.cli.sources import quotes
from productsearch.cli.sources.entry import Entry, SourceError, encodable
from productsearch.cli.sources.reading import read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from productsearch.cli.sources.template import Mapping

Row = dict[str, str]
REJECTS_JOURNAL: Final = "journal"
"""The column of a rejects file that names the journal of its rows."""
_OF_AN_ENGINE: Final = "productsearch-library"
"""What the first line of an engine's export says that it is."""
_PARQUET_BATCH: Final = 1000
_FIELD_BYTES_MAX: Final = 1_000_000


class Rows:
    """A list as a source. Paths in it are relative to its own folder."""

    def __init__(self, name: str, mapping: Mapping) -> None:
        self.name = name
        self._file = Path(name)
        self._mapping = mapping
        self._read_rows = _READERS[self._file.suffix.lower()]
        self.journal: Path | None = self._file.with_name(f"{self._file.name}.journal")
        first = next(self._rows(), None)
        columns = [name for name in first or () if name != _PROBLEM]
        if (first or {}).get("format") == _OF_AN_ENGINE:
            raise SourceError(
                f"{name} is a library that an engine exported",
                f"productsearch-engine import {name} --library NAME --create",
            )
        self._columns = mapping.resolve(columns) if first else {}
        # A rejects file goes on in the journal of the import that wrote it.
        self.is_rejects = bool(first) and {"key", "reason", REJECTS_JOURNAL} <= {*(first or {})}
        if self.is_rejects and first:
            self.journal = self._file.parent / first[REJECTS_JOURNAL]

    def _rows(self) -> Iterator[Row]:
        try:
            yield from self._read_rows(self._file)
        except (OSError, UnicodeDecodeError, csv.Error) as wrong:
            raise SourceError(f"{self.name}: {wrong}") from None

    def check(self) -> None:
        """Raise SourceError for a list that cannot be read to its end.

        A row of NDJSON is wrong for itself; a quote of a CSV is wrong for the rows that follow.
        """
        if self._read_rows is _csv_rows:
            self.count()

    def entries(self) -> Iterator[Entry]:
        """Yield an entry for each row. Raises SourceError."""
        for row in self._rows():
            yield self._entry(row)

    def _entry(self, row: Row) -> Entry:
        mapping = self._mapping
        value = {name: row.get(column, "") for name, column in self._columns.items()}
        # What an import wrote itself is as it was; in lists of people blanks mean nothing.
        image, sku = value["image"], value.get("sku", "")
        if not self.is_rejects:
            image, sku = image.strip(), sku.strip()
        # A template can name a column, or what a column is for.
        row = value | row
        size, mtime_ns = self._stat(image)
        return Entry(
            key=row["key"] if self.is_rejects else image,
            image=image,
            sku=sku,
            brief=mapping.brief.fill(row) if mapping.brief else value.get("brief", "") or image,
            class_id1=mapping.class_id(1, row, value.get("class_id1", "")),
            class_id2=mapping.class_id(2, row, value.get("class_id2", "")),
            size=size,
            mtime_ns=mtime_ns,
            problem=row.get(_PROBLEM, "") or ("" if image else "the row names no image"),
        )

    def _stat(self, image: str) -> tuple[int | None, int | None]:
        if not image or "://" in image:
            return None, None
        try:
            stat = (self._file.parent / image).stat()
        except (OSError, ValueError):
            return None, None
        return stat.st_size, stat.st_mtime_ns

    def count(self) -> int:
        """Return how many rows there are. Raises SourceError."""
        return sum(1 for _ in self._rows())

    def read(self, entry: Entry, bytes_max: int) -> bytes:
        """Return the image. Raises OSError."""
        return read_bytes(self._file.parent, entry.image, bytes_max)


_PROBLEM: Final = "\0problem"


def _csv_rows(file: Path) -> Iterator[Row]:
    csv.field_size_limit(_FIELD_BYTES_MAX)
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        head = lines.readline()
        delimiter = max(",;\t", key=head.count)
        lines.seek(0)
        # Strictly: a quote that is not closed would make one row of all that follow.
        rows = csv.DictReader(lines, delimiter=delimiter, restval="", strict=True)
        read = 0
        try:
            for row in rows:
                read = rows.line_num
                extra = row.pop(None, None)
                if extra:
                    row[_PROBLEM] = f"the row has {len(extra)} values more than the head has names"
                yield _clean(row, rows.line_num)
        except csv.Error as wrong:
            at = f"line {rows.line_num}: {wrong}"
            lines.seek(0)
            told = quotes.told_of(lines, read, delimiter)
            step = "mend the quote; one inside a value is doubled" if told else ""
            raise SourceError(f"{file}: {told or at}", step) from None


def _clean(row: Row, number: int) -> Row:
    """Return a row whose texts can be encoded, with its problem if one could not be."""
    clean = {encodable(name): encodable(text) for name, text in row.items()}
    if clean != row:
        clean.setdefault(_PROBLEM, f"line {number} has characters that are not UTF-8")
    return clean


def _ndjson_rows(file: Path) -> Iterator[Row]:
    # Columns are those of the first rows together: a row may lack what it has no value for.
    def parsed() -> Iterator[Row]:
        with file.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _clean(_json_row(line, number), number)

    rows = parsed()
    first = [*itertools.islice(rows, 100)]
    columns = [*dict.fromkeys(name for row in first for name in row if name != _PROBLEM)]
    for row in itertools.chain(first, rows):
        yield dict.fromkeys(columns, "") | row


def _json_row(line: str, number: int) -> Row:
    try:
        row = json.loads(line)
    except ValueError as wrong:
        return {_PROBLEM: f"line {number} is no JSON: {wrong}"}
    except RecursionError:
        return {_PROBLEM: f"line {number} is nested too deep"}
    if not isinstance(row, dict):
        return {_PROBLEM: f"line {number} is no JSON object"}
    return {name: _text(value) for name, value in row.items()}


def _parquet_rows(file: Path) -> Iterator[Row]:
    try:
        import duckdb
    except ModuleNotFoundError:
        raise SourceError(f"Parquet needs more packages: {how_to_install('parquet')}") from None
    if not file.exists():
        raise SourceError(f"{file}: No such file or directory")
    with duckdb.connect() as database:
        try:
            found = database.execute("SELECT * FROM read_parquet(?)", [str(file)])
            names = [column[0] for column in found.description or ()]
            while rows := found.fetchmany(_PARQUET_BATCH):
                for row in rows:
                    yield dict(zip(names, map(_text, row), strict=True))
        except duckdb.Error as wrong:
            raise SourceError(f"{file}: {wrong}") from None


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


_READERS: Final = {
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".ndjson": _ndjson_rows,
    ".jsonl": _ndjson_rows,
    ".parquet": _parquet_rows,
}
SUFFIXES: Final = (*_READERS,)
