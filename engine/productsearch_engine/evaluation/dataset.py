"""Reads which product each image file shows: from a CSV file, from folders, or from file names.

Knows files and labels. Does not know what is searched with what (``protocols``).
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"}
FRONT = "main"
"""The view that shows a product from its front."""

CATALOGUE = "catalogue"
"""The kind of image that a shop puts beside a price; every other kind is a photograph."""

UNDERSTOOD = (
    "a CSV file with the columns file and product (and colour, view, kind if there are any);"
    " a folder with such a photos.csv; a folder for each product; or files called"
    " product-NUMBER.jpg or product-COLOUR-VIEW.jpg, where VIEW is main, back, side or alt1"
)

TABLE = "photos.csv"
"""The table of labels in a folder."""

BY_FOLDER = "a folder for each product"
_BY_NAME = "labels of the files' names"

_OPTIONAL = ("colour", "view", "kind")
_KNOWN = {"front": FRONT, "catalog": CATALOGUE}
"""Other words for a view and a kind, in lower case, as all of these labels are."""

_SEPARATORS = (",", ";", "\t")
_BEYOND = "\0"
"""Where a row has fields beyond the columns."""

_WITH_COLOUR = re.compile(
    r"(?P<product>.+)-(?P<colour>[^-]+)-(?P<view>main|back|side|alt[a-z]*\d*)", re.IGNORECASE
)
_WITH_NUMBER = re.compile(r"(?!\d+\Z)(?P<product>.+?)(?:[-_ ]*\d+| ?\(\d+\))")
"""A name of digits alone is an article's number, which says nothing of other images of it."""


class DatasetError(Exception):
    """The images cannot be evaluated; the text is for the command's user."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One image file and what it shows; what is not known is empty."""

    path: Path
    product: str
    colour: str = ""
    view: str = ""
    kind: str = ""
    labelled_by: str = ""
    """Where the product is known from, in words."""


def read(source: Path) -> list[Item]:
    """Return the labelled images of a folder or a CSV file. Raises DatasetError."""
    table = source if source.suffix.lower() == ".csv" else source / TABLE
    if table.is_file():
        try:
            items = list(_from_table(table))
        except (UnicodeDecodeError, csv.Error) as error:
            raise DatasetError(f"{table}: no CSV file in UTF-8: {error}") from None
    elif source.is_dir():
        items = [_from_place(path, source) for path in sorted(_image_files(source))]
    else:
        raise DatasetError(f"{source}: no such folder or CSV file")
    if len({item.product for item in items}) < 2:
        raise DatasetError(
            f"{source}: images of at least two products are needed, not of"
            f" {len({item.product for item in items})}. Understood are: {UNDERSTOOD}."
        )
    return items


def _from_table(table: Path) -> Iterator[Item]:
    with table.open(newline="", encoding="utf-8-sig") as file:
        # A spreadsheet writes what its country separates by.
        separator = max(_SEPARATORS, key=file.readline().count)
        file.seek(0)
        rows = csv.DictReader(file, restkey=_BEYOND, delimiter=separator, skipinitialspace=True)
        rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
        if missing := {"file", "product"} - set(rows.fieldnames):
            there = ", ".join(rows.fieldnames) or "none"
            raise DatasetError(
                f"{table}: no column {', '.join(sorted(missing))}; there is: {there}"
            )
        lines: dict[Path, int] = {}
        for row in rows:
            place = f"{table}, line {rows.line_num}"
            if _BEYOND in row:
                raise DatasetError(
                    f"{place}: more fields than columns; a label with {separator!r} needs quotes"
                )
            item = _from_row(row, table, place)
            # Twice in the set it would find itself.
            before = lines.setdefault(item.path.resolve(), rows.line_num)
            if before != rows.line_num:
                raise DatasetError(f"{place}: {item.path} is in line {before} already")
            yield item


def _from_row(row: dict[str, str], table: Path, place: str) -> Item:
    labels = {name: (row.get(name) or "").strip() for name in ("product", *_OPTIONAL)}
    path = table.parent / (row["file"] or "")
    if not row["file"] or not labels["product"] or not path.is_file():
        raise DatasetError(f"{place}: no product, or no file {path}")
    known = {name: _KNOWN.get(labels[name].lower(), labels[name].lower()) for name in _OPTIONAL}
    labelled_by = f"labels of {table.name}"
    return Item(path=path, product=labels["product"], labelled_by=labelled_by, **known)


def _image_files(folder: Path) -> Iterator[Path]:
    """Yield the image files below a folder. Raises OSError for a folder that cannot be read.

    Links to folders are followed, to each folder once. Names that begin with a dot are what systems
    write beside the files of people.
    """
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, onerror=_raised, followlinks=True):
        found = Path(place).stat()
        if (found.st_dev, found.st_ino) in seen:
            folders.clear()
            continue
        seen.add((found.st_dev, found.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(place, name)
            if path.suffix.lower() in ENDINGS and not name.startswith("."):
                yield path


def _raised(error: OSError) -> None:
    raise error


def _from_place(path: Path, folder: Path) -> Item:
    if path.parent != folder:
        product = path.parent.relative_to(folder).as_posix()
        return Item(path=path, product=product, labelled_by=BY_FOLDER)
    return named(path) or Item(path=path, product=path.stem, labelled_by=_BY_NAME)


def named(path: Path) -> Item | None:
    """Return what a file's name says of it; None if it is not called as products are."""
    for form in (_WITH_COLOUR, _WITH_NUMBER):
        if found := form.fullmatch(path.stem):
            product, *others = found.groupdict().items()
            lower = {name: label.lower() for name, label in others}
            return Item(path=path, product=product[1], labelled_by=_BY_NAME, **lower)
    return None
