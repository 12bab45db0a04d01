"""Draws any number of products, photographs of them, and what happens to photographs.

Nothing is read from a file. Equal arguments give equal images.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.random import RandomState
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from productsearch_engine.embedding.interface import Pixels

SIDE = 400
_LAYER = 300


def photograph(product: int, ground: int) -> Pixels:
    """Return a product before a ground, shape (400, 400, 3); ground 0 is white."""
    return np.asarray(_photograph(product, ground), np.uint8)


def _photograph(product: int, ground: int) -> Image.Image:
    sheet = _ground(ground)
    layer = _product(product)
    sheet.paste(layer, ((SIDE - _LAYER) // 2, (SIDE - _LAYER) // 2), layer)
    return sheet


def _product(number: int) -> Image.Image:
    """Return one to three bodies in two colours with a print on them, over nothing."""
    random = RandomState(number)
    layer = Image.new("RGBA", (_LAYER, _LAYER), (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    colours = [tuple(random.randint(20, 236, 3).tolist()) for _ in range(3)]
    for body in range(random.randint(1, 4)):
        across, down = random.uniform(0.35, 0.95, 2) * _LAYER
        left, top = random.uniform(0, 1, 2) * (_LAYER - across, _LAYER - down)
        box = (left, top, left + across, top + down)
        match random.randint(3):
            case 0:
                pen.ellipse(box, fill=colours[body % 2])
            case 1:
                pen.rounded_rectangle(box, random.randint(0, 50), fill=colours[body % 2])
            case _:
                corners = random.uniform(0, 1, (random.randint(3, 7), 2)) * (across, down)
                around = np.argsort(np.arctan2(*(corners - corners.mean(0)).T))
                points = [(left + x, top + y) for x, y in corners[around].tolist()]
                pen.polygon(points, fill=colours[body % 2])
    body_mask = layer.getchannel("A")
    _print(pen, random, colours[2])
    layer.putalpha(body_mask)
    return layer


def _print(pen: ImageDraw.ImageDraw, random: RandomState, colour: tuple[int, ...]) -> None:
    step, kind = random.randint(22, 60), random.randint(4)
    for x in range(0, _LAYER, step):
        for y in range(0, _LAYER, step):
            box = (x, y, x + step // 2, y + step // 2)
            if kind == 0:
                pen.rectangle((x, 0, x + step // 3, _LAYER), fill=colour)
            elif kind == 1:
                pen.ellipse(box, fill=colour)
            elif kind == 2:
                pen.line((x, y, x + step // 2, y + step // 2), fill=colour, width=5)
            elif random.uniform() < 0.4:
                pen.rectangle(box, fill=colour)


def _ground(number: int) -> Image.Image:
    if number == 0:
        return Image.new("RGB", (SIDE, SIDE), "white")
    random = RandomState(10**6 + number)
    image = Image.new("RGB", (SIDE, SIDE), tuple(random.randint(60, 220, 3).tolist()))
    pen = ImageDraw.Draw(image)
    for _ in range(30):
        x, y = random.randint(-60, SIDE, 2).tolist()
        size = int(random.randint(20, 140))
        pen.rectangle((x, y, x + size, y + size), fill=tuple(random.randint(50, 230, 3).tolist()))
    return image.filter(ImageFilter.GaussianBlur(4))


def _rotated(image: Image.Image, random: RandomState) -> Image.Image:
    angle = float(random.choice([-15, 15]))
    return image.rotate(angle, Image.Resampling.BICUBIC, fillcolor="white")


def _cropped(image: Image.Image, random: RandomState) -> Image.Image:
    side = round(SIDE * 0.6**0.5)  # 60 % of the area
    left, top = random.randint(0, SIDE - side + 1, 2).tolist()
    return image.crop((left, top, left + side, top + side))


def _recompressed(image: Image.Image, _random: RandomState) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=30)
    return Image.open(file).convert("RGB")


def _lit(image: Image.Image, random: RandomState) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(float(random.choice([0.7, 1.3])))


def _cast(image: Image.Image, random: RandomState) -> Image.Image:
    gains = random.permutation([1.15, 1.0, 0.85])
    return Image.fromarray(np.clip(np.asarray(image) * gains, 0, 255).astype(np.uint8))


def _occluded(image: Image.Image, random: RandomState) -> Image.Image:
    covered = image.copy()
    half = SIDE // 2
    left, top = (random.randint(0, 2, 2) * half).tolist()
    colour = tuple(random.randint(0, 256, 3).tolist())
    covered.paste(Image.new("RGB", (half, half), colour), (left, top))
    return covered


CHANGES: dict[str, tuple[float, Callable[[Image.Image, RandomState], Image.Image]]] = {
    "rotation by 15 degrees": (0.97, _rotated),
    "crop to 60 % of the area": (0.97, _cropped),
    "300 pixels": (0.97, lambda image, _: image.resize((300, 300), Image.Resampling.BOX)),
    "JPEG 30": (0.97, _recompressed),
    "brightness +-30 %": (0.97, _lit),
    "colour cast": (0.97, _cast),
    "flip": (0.97, lambda image, _: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "a quarter occluded": (0.85, _occluded),
}
"""What happens to an image, and the share of searches that must find it all the same."""

OTHER_GROUND_MIN = 0.90


def changed(product: int, change: str) -> Pixels:
    """Return the photograph of a product, before a ground of its own, after a change."""
    image = _photograph(product, 1 + product)
    return np.asarray(CHANGES[change][1](image, RandomState(product)), np.uint8)
