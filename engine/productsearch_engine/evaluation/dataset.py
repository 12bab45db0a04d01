"""Reads which product each image file shows: from a CSV file, from folders, or from file names.

Knows files and labels. Does not know what is searched with what (``protocols``).
"""

from __future__ import annotations

import csv
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

_WITH_COLOUR = re.compile(
    r"(?P<product>.+)-(?P<colour>[^-]+)-(?P<view>main|back|side|alt[a-z]*\d*)"
)
_WITH_NUMBER = re.compile(r"(?P<product>.+?)[-_ ]*\d+")


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
        items = [
            _from_place(path, source)
            for path in sorted(source.rglob("*"))
            if path.suffix.lower() in ENDINGS
        ]
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
        rows = csv.DictReader(file)
        missing = {"file", "product"} - set(rows.fieldnames or ())
        if missing:
            raise DatasetError(f"{table}: no column {', '.join(sorted(missing))}")
        for number, row in enumerate(rows, 2):
            path = table.parent / (row["file"] or "")
            if not row["file"] or not row["product"] or not path.is_file():
                raise DatasetError(f"{table}, line {number}: no product, or no file {path}")
            optional = {name: row.get(name) or "" for name in ("colour", "view", "kind")}
            labels = f"labels of {table.name}"
            yield Item(path=path, product=row["product"], labelled_by=labels, **optional)


def _from_place(path: Path, folder: Path) -> Item:
    if path.parent != folder:
        return Item(path=path, product=path.parent.name, labelled_by=BY_FOLDER)
    return named(path) or Item(path=path, product=path.stem, labelled_by=_BY_NAME)


def named(path: Path) -> Item | None:
    """Return what a file's name says of it; None if it is not called as products are."""
    for form in (_WITH_COLOUR, _WITH_NUMBER):
        if found := form.fullmatch(path.stem):
            return Item(path=path, labelled_by=_BY_NAME, **found.groupdict())
    return None
