"""Draws products: each a silhouette with a print, in several colours, before several grounds."""

from __future__ import annotations

import colorsys
import io
import random

from PIL import Image, ImageDraw, ImageFilter

SIDE_PX = 360

_Box = tuple[float, float, float, float]

# Rounded rectangles in a unit square: (left, top, right, bottom) and the radius of the corners.
SHAPES: dict[str, tuple[tuple[_Box, float], ...]] = {
    "bottle": (((0.3, 0.35, 0.7, 0.98), 0.1), ((0.43, 0.05, 0.57, 0.45), 0.03)),
    "box": (((0.15, 0.1, 0.85, 0.95), 0.0),),
    "can": (((0.25, 0.25, 0.75, 0.9), 0.06),),
    "bag": (((0.12, 0.25, 0.88, 0.98), 0.2), ((0.4, 0.1, 0.6, 0.3), 0.02)),
    "ball": (((0.1, 0.15, 0.9, 0.95), 0.4),),
    "tube": (((0.35, 0.05, 0.65, 0.95), 0.15),),
    "mug": (((0.15, 0.25, 0.7, 0.9), 0.05), ((0.65, 0.38, 0.92, 0.76), 0.12)),
    "lamp": (
        ((0.2, 0.08, 0.8, 0.42), 0.1),
        ((0.46, 0.4, 0.54, 0.85), 0.0),
        ((0.25, 0.84, 0.75, 0.95), 0.05),
    ),
    "stool": (
        ((0.1, 0.3, 0.9, 0.45), 0.05),
        ((0.15, 0.4, 0.25, 0.95), 0.0),
        ((0.75, 0.4, 0.85, 0.95), 0.0),
    ),
    "shirt": (((0.28, 0.15, 0.72, 0.92), 0.04), ((0.05, 0.15, 0.95, 0.42), 0.06)),
    "jar": (((0.2, 0.25, 0.8, 0.95), 0.12), ((0.26, 0.1, 0.74, 0.22), 0.02)),
    "clock": (((0.12, 0.12, 0.88, 0.88), 0.38), ((0.3, 0.86, 0.7, 0.96), 0.02)),
}
COLOURS = {"red": 0.0, "green": 0.36, "blue": 0.61}
"""Hues, 0 to 1."""

GROUNDS = ("white", "shelf", "wood", "street")


def draw(shape: str, colour: str, ground: str) -> bytes:
    """Return a JPEG of a product; the same arguments give the same image."""
    chance = random.Random(f"{shape} {colour} {ground}")
    image = _ground(ground, chance)
    turned = _product(shape, COLOURS[colour], chance).rotate(
        chance.uniform(-12, 12), Image.Resampling.BICUBIC, expand=True
    )
    x, y = (chance.randint(8, max(9, SIDE_PX - size - 8)) for size in turned.size)
    image.paste(turned, (x, y), turned)
    image = image.filter(ImageFilter.GaussianBlur(chance.uniform(0, 0.8)))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=chance.randint(78, 92))
    return buffer.getvalue()


def _product(shape: str, hue: float, chance: random.Random) -> Image.Image:
    side = chance.randint(220, 280)
    layer = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    light = chance.uniform(0.75, 0.95)
    body, label = _colour(hue, 0.8, light), _colour(hue + 0.08, 0.25, light)
    for box, radius in SHAPES[shape]:
        left, top, right, bottom = (part * side for part in box)
        pen.rounded_rectangle((left, top, right, bottom), radius * side, fill=body)
    # The print belongs to the product, whatever its colour.
    for stripe in range(1 + list(SHAPES).index(shape) % 4):
        top = side * (0.5 + stripe * 0.07)
        pen.rectangle((side * 0.38, top, side * 0.62, top + side * 0.04), fill=label)
    return layer


def _ground(ground: str, chance: random.Random) -> Image.Image:
    if ground == "white":
        return Image.new("RGB", (SIDE_PX, SIDE_PX), "white")
    if ground == "shelf":
        image = Image.new("RGB", (SIDE_PX, SIDE_PX), _colour(chance.random(), 0.15, 0.85))
        board = _colour(chance.random(), 0.2, 0.6)
        edge = chance.randint(230, 310)
        ImageDraw.Draw(image).rectangle((0, edge, SIDE_PX, SIDE_PX), fill=board)
        return image
    image = Image.new("RGB", (SIDE_PX, SIDE_PX), _colour(0.08, 0.45, 0.55))
    pen = ImageDraw.Draw(image)
    if ground == "wood":
        for y in range(0, SIDE_PX, 6):
            shade = _colour(0.08, 0.45, chance.uniform(0.45, 0.65))
            pen.rectangle((0, y, SIDE_PX, y + 5), fill=shade)
        return image
    for _ in range(60):
        x, y, size = (
            chance.randint(-40, SIDE_PX),
            chance.randint(-40, SIDE_PX),
            chance.randint(20, 90),
        )
        grey = _colour(chance.random(), 0.15, chance.uniform(0.3, 0.8))
        pen.rectangle((x, y, x + size, y + size), fill=grey)
    return image.filter(ImageFilter.GaussianBlur(3))


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)
