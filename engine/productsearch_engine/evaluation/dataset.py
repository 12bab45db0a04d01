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


def read(source: Path) -> list[Item]:
    """Return the labelled images of a folder or a CSV file. Raises DatasetError."""
    table = source if source.suffix.lower() == ".csv" else source / "photos.csv"
    if table.is_file():
        items = list(_from_table(table))
    elif source.is_dir():
        items = [
            _from_name(path, source)
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
            yield Item(path=path, product=row["product"], **optional)


def _from_name(path: Path, folder: Path) -> Item:
    if path.parent != folder:
        return Item(path=path, product=path.parent.name)
    with_colour = _WITH_COLOUR.fullmatch(path.stem)
    if with_colour:
        return Item(path=path, **with_colour.groupdict())
    with_number = _WITH_NUMBER.fullmatch(path.stem)
    return Item(path=path, product=with_number["product"] if with_number else path.stem)
