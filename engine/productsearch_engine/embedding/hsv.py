"""Describes the colours of an image by a histogram of hue, saturation and value.

Knows pixels. Does not know what else describes an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from productsearch_engine.embedding.interface import Pixels

_CELLS = (12, 4, 4)
_STEPS = 4
"""Steps in a cell, in which colours are counted where cells have soft edges."""

SIDE = 128
"""Working images are squares of this side, in pixels."""

DIMENSIONS = 12 * 4 * 4

Floats = NDArray[np.float64]

Hsv = NDArray[np.int32]
"""Hue, saturation and value of a working image, shape (SIDE, SIDE, 3), each 0 to 255."""

Edges = tuple[float, float, float]
"""How wide the edges between cells of hue, saturation and value are, 0 to 1 of a cell."""

HARD: Edges = (0.0, 0.0, 0.0)

Shares = NDArray[np.float64]
"""How much of an image each cell has, shape (DIMENSIONS,), sum 1."""

Weight = NDArray[np.float64]
"""How much each pixel of a working image counts, shape (SIDE, SIDE), not 0 everywhere."""


def working(image: Pixels) -> Hsv:
    """Return the working image of an image of any size."""
    method = cv2.INTER_AREA if min(image.shape[:2]) > SIDE else cv2.INTER_LINEAR
    small = cv2.resize(image, (SIDE, SIDE), interpolation=method)
    return cv2.cvtColor(small, cv2.COLOR_RGB2HSV_FULL).astype(np.int32)


class Colours:
    """The colours of a working image, in cells with hard or soft edges.

    Of a pixel near a soft edge each of the two cells has a part, so that a colour which crosses it
    changes the shares little (linear interpolation: Dalal and Triggs, CVPR 2005).
    """

    def __init__(self, small: Hsv, edges: Edges = HARD):
        """Put each pixel of a working image into its cells."""
        wide = zip(_CELLS, edges, strict=True)
        self._cells = tuple(_cells(*each, circular=i == 0) for i, each in enumerate(wide))
        steps = [small[..., i] * len(each) // 256 for i, each in enumerate(self._cells)]
        self._counts = tuple(len(each) for each in self._cells)
        self._steps = np.ravel_multi_index(steps, self._counts)

    def shares(self, weight: Weight) -> Shares:
        """Return the share of each cell, where a pixel counts by its weight."""
        total = int(np.prod(self._counts))
        steps = np.bincount(self._steps.ravel(), weight.ravel(), minlength=total)
        by_step = np.asarray(steps, np.float64).reshape(self._counts)
        found = _along(by_step, [each.T for each in self._cells]).ravel()
        return np.asarray(found / found.sum())

    def of_pixels(self, values: Shares) -> Weight:
        """Return for each pixel the value of its cell, shape (SIDE, SIDE); values: one a cell."""
        return np.asarray(_along(values.reshape(_CELLS), self._cells).ravel()[self._steps])


def roots(shares: Shares) -> NDArray[np.float32]:
    """Return the roots of shares, a unit vector, shape (DIMENSIONS,).

    The cosine of the roots of two histograms is the Bhattacharyya coefficient.
    """
    return np.asarray(np.sqrt(shares), np.float32)


def _along(values: Floats, matrices: Sequence[Floats]) -> Floats:
    """Return values multiplied with a matrix along each of their axes."""
    for matrix in matrices:  # each takes the first axis off, and appends its own as the last one
        values = np.einsum("iyz,ci->yzc", values, matrix)
    return values


@cache
def _cells(count: int, edge: float, *, circular: bool) -> Floats:
    """Return the part that each cell has of each step of an axis, shape (steps, count)."""
    if edge == 0:
        return np.eye(count)
    steps = count * _STEPS
    at = (np.arange(steps) + 0.5) / _STEPS - 0.5  # 0 is the middle of the first cell
    if not circular:
        at = at.clip(0, count - 1)
    apart = np.abs(np.subtract.outer(at, np.arange(count)))
    if circular:
        apart = np.minimum(apart, count - apart)
    return np.asarray(((0.5 - apart) / edge + 0.5).clip(0, 1))
