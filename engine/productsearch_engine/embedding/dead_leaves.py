"""Draws synthetic images with the statistics of natural ones: the dead leaves model.

They give the mean that all images have in common. Reads no photograph.
"""

from __future__ import annotations

import cv2
import numpy as np

from productsearch_engine.embedding.interface import Pixels

_LEAVES = 300
_RADIUS_MIN = 6.0
_LENS_BLUR = 1.5  # pixels: no photograph is as sharp as a drawn edge
_WARMTH = (20, 0, -20)  # most surfaces, and the light in most rooms, lean towards yellow


def dead_leaves(seed: int, side: int) -> Pixels:
    """Return discs of random colour fallen over each other, shape (side, side, 3).

    The dead leaves model has the edges, scales and occlusions of natural images
    when radii follow a power law of exponent -3 (Lee, Mumford, Huang, IJCV 2001).
    Colours are uniform in brightness, mostly pale and a little warm. Equal seeds give
    equal images: numpy froze the stream of ``RandomState`` (NEP 19).
    """
    random = np.random.RandomState(seed)
    image = np.full((side, side, 3), _colour(random), np.uint8)
    for _ in range(_LEAVES):
        radius = _RADIUS_MIN / np.sqrt(random.uniform((_RADIUS_MIN / side) ** 2, 1))
        x, y = random.randint(-side // 10, side + side // 10, 2).tolist()
        cv2.circle(image, (x, y), round(radius), _colour(random), cv2.FILLED)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), _LENS_BLUR), np.uint8)


def _colour(random: np.random.RandomState) -> list[int]:
    brightness = random.uniform(10, 245)
    tint = random.laplace(0, 20, 3) + _WARMTH
    # Dark colours have little room for a tint.
    colour = np.clip(brightness + tint * min(1.0, brightness / 128), 0, 255)
    return [round(channel) for channel in colour.tolist()]
