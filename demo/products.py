"""The images of the tour: products with several images each, drawn or from a folder."""

from __future__ import annotations

import colorsys
import csv
import io
import math
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".heic", ".gif", ".tif", ".tiff"}
_SHAPES = ("bottle", "box", "can", "bag", "ball", "tube")
_DRAWN_PRODUCTS = 12
_DRAWN_IMAGES = 6
_SIDE_PX = 360


@dataclass(frozen=True)
class Product:
    """A product: its class (1 to 65535), the class of its group, and its image files."""

    name: str
    class_id: int
    group_id: int
    images: tuple[bytes, ...]

    @property
    def stored(self) -> tuple[bytes, ...]:
        """The images that go into the library: the first half."""
        return self.images[: (len(self.images) + 1) // 2]

    @property
    def queries(self) -> tuple[bytes, ...]:
        """The images that are searched with, none of them stored."""
        return self.images[(len(self.images) + 1) // 2 :]


def from_folder(folder: Path) -> list[Product]:
    """Return the products of a folder; raise ValueError if it has none to show.

    Which product an image shows is said by ``photos.csv`` (columns file, product, product_id,
    group_id), else by its sub-folder, else by its name without the number at its end.
    """
    labels = _labels(folder / "photos.csv")
    files: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _ENDINGS:
            files[labels[path.name][0] if path.name in labels else _name(path, folder)].append(path)
    products = []
    for number, (name, paths) in enumerate(sorted(files.items()), 1):
        _, class_id, group_id = labels.get(paths[0].name, (name, number, 1))
        images = tuple(path.read_bytes() for path in paths)
        products.append(Product(name, class_id, group_id, images))
    if not any(product.queries for product in products):
        raise ValueError(f"{folder}: no product with at least two images")
    return products


def drawn() -> list[Product]:
    """Return products drawn here: each a shape in its colours, on shelves, at angles."""
    chance = random.Random(20)
    products = []
    for number in range(_DRAWN_PRODUCTS):
        shape = _SHAPES[number % len(_SHAPES)]
        hue = (number * 0.381966) % 1  # the golden angle keeps colours apart
        images = tuple(_drawn_image(shape, hue, chance) for _ in range(_DRAWN_IMAGES))
        group = _SHAPES.index(shape) + 1
        products.append(Product(f"{shape} {number + 1}", number + 1, group, images))
    return products


def _labels(table: Path) -> dict[str, tuple[str, int, int]]:
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as file:
        return {
            row["file"]: (row["product"], int(row["product_id"]), int(row["group_id"]))
            for row in csv.DictReader(file)
        }


def _name(path: Path, folder: Path) -> str:
    if path.parent != folder:
        return path.parent.name
    return re.sub(r"[-_ ]*\d*$", "", path.stem) or path.stem


def _drawn_image(shape: str, hue: float, chance: random.Random) -> bytes:
    """Draw one photograph of a product and return it as a JPEG."""
    image = _shelf(chance)
    side = chance.randint(210, 280)
    layer = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    light = chance.uniform(0.75, 1.0)
    body, label = _colour(hue, 0.85, light), _colour(hue + 0.45, 0.55, light)
    for box, radius in _outline(shape, side):
        pen.rounded_rectangle(box, radius, fill=body)
    pen.rectangle((side * 0.36, side * 0.5, side * 0.64, side * 0.72), fill=label)
    for stripe in range(int(hue * 5) + 1):
        top = side * (0.52 + stripe * 0.035)
        pen.line((side * 0.38, top, side * 0.62, top), fill=body, width=3)
    turned = layer.rotate(chance.uniform(-18, 18), Image.Resampling.BICUBIC, expand=True)
    x, y = (chance.randint(10, max(11, _SIDE_PX - size - 10)) for size in turned.size)
    image.paste(turned, (x, y), turned)
    image = image.filter(ImageFilter.GaussianBlur(chance.uniform(0, 0.8)))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=chance.randint(75, 92))
    return buffer.getvalue()


def _shelf(chance: random.Random) -> Image.Image:
    """Return a background: a wall over a board, both pale."""
    wall, board = (_colour(chance.random(), 0.15, chance.uniform(0.6, 0.95)) for _ in range(2))
    image = Image.new("RGB", (_SIDE_PX, _SIDE_PX), wall)
    edge = chance.randint(220, 320)
    ImageDraw.Draw(image).rectangle((0, edge, _SIDE_PX, _SIDE_PX), fill=board)
    return image


def _outline(shape: str, side: int) -> Iterator[tuple[tuple[float, float, float, float], int]]:
    """Yield the rounded rectangles of a shape, in a square of ``side`` pixels."""
    boxes = {
        "bottle": [((0.3, 0.35, 0.7, 0.98), 0.1), ((0.43, 0.05, 0.57, 0.45), 0.03)],
        "box": [((0.15, 0.1, 0.85, 0.95), 0.0)],
        "can": [((0.25, 0.25, 0.75, 0.9), 0.06)],
        "bag": [((0.12, 0.25, 0.88, 0.98), 0.2), ((0.4, 0.1, 0.6, 0.3), 0.02)],
        "ball": [((0.1, 0.15, 0.9, 0.95), 0.4)],
        "tube": [((0.35, 0.05, 0.65, 0.95), 0.15)],
    }
    for box, radius in boxes[shape]:
        left, top, right, bottom = (part * side for part in box)
        yield (left, top, right, bottom), math.floor(radius * side)


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)
