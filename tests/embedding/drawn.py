"""Draws product scenes: a package with a print on it, turned, on a cluttered ground."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from productsearch_engine.embedding.interface import Pixels

Colour = tuple[int, ...]

BODIES: tuple[Colour, ...] = (
    (190, 40, 45),
    (240, 200, 40),
    (40, 110, 60),
    (40, 70, 150),
    (235, 235, 225),
)
INKS: tuple[Colour, ...] = ((190, 40, 45), (40, 110, 60), (235, 235, 225))
PRODUCTS = [
    (body, ink, mark)
    for body in BODIES
    for ink in INKS
    for mark in ("stripes", "dots")
    if body != ink
]


def package(body: Colour, ink: Colour, mark: str) -> Image.Image:
    """Return the front of one product, upright, 140 x 220 pixels."""
    front = Image.new("RGBA", (140, 220), body)
    draw = ImageDraw.Draw(front)
    for y in range(10, 210, 28):
        if mark == "stripes":
            draw.rectangle((0, y, 140, y + 11), fill=ink)
        else:
            for x in range(8, 130, 28):
                draw.ellipse((x, y, x + 17, y + 17), fill=ink)
    return front


def scene(product: int, view: int) -> Pixels:
    """Return one product seen anew, 400 x 400: ground, angle, size, place and light differ."""
    random = np.random.RandomState(1000 * product + view)
    ground = Image.new("RGB", (400, 400), tuple(random.randint(60, 200, 3).tolist()))
    draw = ImageDraw.Draw(ground)
    for _ in range(40):
        x, y, size = random.randint(0, 400, 3).tolist()
        colour = tuple(random.randint(40, 220, 3).tolist())
        draw.rectangle((x, y, x + size // 4, y + size // 4), fill=colour)
    front = package(*PRODUCTS[product])
    angle, scale, light = random.uniform((-25, 1.1, 0.85), (25, 1.5, 1.1)).tolist()
    front = front.rotate(angle, expand=True, resample=Image.Resampling.BICUBIC)
    front = front.resize((round(front.width * scale), round(front.height * scale)))
    left, top = random.randint(175, 226, 2).tolist()
    ground.paste(front, (left - front.width // 2, top - front.height // 2), front)
    return np.asarray(np.clip(np.asarray(ground, np.float32) * light, 0, 255), np.uint8)
