"""The images of the tour, drawn or from a folder, and what is searched with what.

Every image that a series may find is stored. A series counts only its own stored images as
answers, and never the image that is searched with.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo import drawing
from productsearch_engine.evaluation.dataset import UNDERSTOOD, DatasetError, Item, read
from productsearch_engine.evaluation.protocols import offered

_MEANINGS = {
    "any": "another image of the product",
    "colour": "another colour of the product",
    "view": "another side of the product",
    "catalogue": "the product's catalogue image",
}


@dataclass(frozen=True, eq=False)
class Photo:
    """One image of a product, with the product's class and the class of its group."""

    key: str
    product: str
    class_id: int
    group_id: int
    content: bytes


@dataclass(frozen=True, eq=False)
class Series:
    """Searches that show one thing: what is searched with, and what may be found."""

    meaning: str
    queries: tuple[Photo, ...]
    stored: frozenset[Photo]


def drawn() -> list[Series]:
    """Return series of products drawn here: before other grounds, and in other colours."""
    photos = {
        (shape, colour, ground): Photo(
            f"{shape}-{colour}-{ground}", shape, number, 1 + number % 3, drawing.draw(*key)
        )
        for number, shape in enumerate(drawing.SHAPES, 1)
        for colour in drawing.COLOURS
        for ground in drawing.GROUNDS
        for key in [(shape, colour, ground)]
    }
    colours, inside = list(drawing.COLOURS), drawing.GROUNDS[:2]
    # Products are stored in different colours, so that a colour alone leads astray.
    own = {shape: colours[n % len(colours)] for n, shape in enumerate(drawing.SHAPES)}
    stored = frozenset(p for (s, c, g), p in photos.items() if c == own[s] and g in inside)
    ground = tuple(p for (s, c, g), p in photos.items() if c == own[s] and g not in inside)
    colour = tuple(p for (s, c, g), p in photos.items() if c != own[s] and g in inside)
    return [
        Series("the product before another ground", ground, stored),
        Series("another colour of the product", colour, stored),
    ]


def from_folder(folder: Path) -> list[Series]:
    """Return the series that a folder's labels allow. Raises ValueError if there are none.

    Where labels tell colours or sides apart, those are the series. Else one half of each product's
    images is stored, and the other half is searched with.
    """
    try:
        items = read(folder)
    except DatasetError as error:
        raise ValueError(error) from None
    photos = _photos(items, folder)
    protocols = {protocol.name: protocol for protocol in offered(items)}
    if protocols.keys() & {"colour", "view"}:
        return [
            Series(
                _MEANINGS[name],
                tuple(photos[i] for i in protocol.queries),
                frozenset(photos[i] for i in protocol.stored),
            )
            for name, protocol in protocols.items()
        ]
    halves = [*_halves(photos)]
    stored = frozenset(photo for half, _ in halves for photo in half)
    queries = tuple(photo for _, half in halves for photo in half)
    if not queries:
        raise ValueError(f"{folder}: no product with at least two images. {understood()}")
    return [Series(_MEANINGS["any"], queries, stored)]


def understood() -> str:
    """Say what tells which product an image shows."""
    return f"Understood are: {UNDERSTOOD}."


def _photos(items: Sequence[Item], folder: Path) -> list[Photo]:
    classes = _classes(folder / "photos.csv")
    numbers = {name: n for n, name in enumerate(sorted({item.product for item in items}), 1)}
    photos = []
    for item in items:
        # Files of two products may have one name, and names need not be UTF-8.
        place = os.path.relpath(item.path, folder)
        class_id, group_id = classes.get(place, (numbers[item.product], 1))
        content = item.path.read_bytes()
        photos.append(Photo(_text(place), _text(item.product), class_id, group_id, content))
    return photos


def _text(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _classes(table: Path) -> dict[str, tuple[int, int]]:
    """Return class and group of each file, where the table has product_id and group_id."""
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8-sig") as file:
        return {
            os.path.normpath(row.get("file") or ""): (int(row["product_id"]), int(row["group_id"]))
            for row in csv.DictReader(file)
            if row.get("product_id") and row.get("group_id")
        }


def _halves(photos: Sequence[Photo]) -> Iterator[tuple[list[Photo], list[Photo]]]:
    for product in dict.fromkeys(photo.product for photo in photos):
        own = [photo for photo in photos if photo.product == product]
        middle = (len(own) + 1) // 2
        yield own[:middle], own[middle:]
