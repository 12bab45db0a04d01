"""Three embeddings that nobody would ship, to see what a better one is worth.

Knows pixels. They can be named beside the real ones in ``evaluate``, and in no library.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from productsearch_engine.embedding.interface import Box, Description, Embedding, Pixels, Vector

_HSV_CELLS = (16, 4, 4)
_HASH_SIDE, _HASH_KEPT = 32, 8


class Baseline(Embedding):
    """An embedding made of one function from pixels to numbers."""

    def __init__(self, name: str, dimensions: int, vector: Callable[[Pixels], Vector]):
        self._name = name
        self._dimensions = dimensions
        self._vector = vector

    @property
    def name(self) -> str:
        """Name, without a version."""
        return self._name

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""
        return self._dimensions

    def describe(
        self, images: Sequence[Pixels], regions: Sequence[Box | None] | None = None
    ) -> list[Description]:
        """Return the vector of each image; regions are not used."""
        del regions
        rows = [self._vector(image) for image in images]
        return [Description(row / max(float(np.linalg.norm(row)), 1e-12), None) for row in rows]


def named() -> dict[str, Baseline]:
    """Return the baselines by name."""
    made = (
        Baseline("hsv", int(np.prod(_HSV_CELLS)), hsv_histogram),
        Baseline("hog", 1764, oriented_gradients),
        Baseline("phash", _HASH_KEPT**2 - 1, perceptual_hash),
    )
    return {baseline.name: baseline for baseline in made}


def hsv_histogram(pixels: Pixels) -> Vector:
    """Return the roots of the shares of hue x saturation x value, 16 x 4 x 4 cells."""
    small = cv2.resize(pixels, (128, 128), interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)
    counts = cv2.calcHist([hsv], [0, 1, 2], None, [*_HSV_CELLS], [0, 180, 0, 256, 0, 256])
    return np.asarray(np.sqrt(counts.ravel() / counts.sum()), np.float32)


def oriented_gradients(pixels: Pixels) -> Vector:
    """Return the histogram of oriented gradients of the image at 64 x 64."""
    small = cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_AREA)
    descriptor = cv2.HOGDescriptor((64, 64), (16, 16), (8, 8), (8, 8), 9)
    return np.asarray(descriptor.compute(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)), np.float32)


def perceptual_hash(pixels: Pixels) -> Vector:
    """Return the signs of the lowest frequencies; the cosine is 1 - 2 x Hamming / bits."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_HASH_SIDE, _HASH_SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small.astype(np.float32))[:_HASH_KEPT, :_HASH_KEPT].ravel()[1:]
    return np.asarray(np.where(low > np.median(low), 1, -1), np.float32)
