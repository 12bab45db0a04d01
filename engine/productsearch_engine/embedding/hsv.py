"""Describes the colours of an image by a histogram of hue, saturation and value.

Knows pixels. Does not know what else describes an image.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from productsearch_engine.embedding.interface import Pixels

_CELLS = (12, 4, 4)
SIDE = 128
"""Working images are squares of this side, in pixels."""

DIMENSIONS = 12 * 4 * 4


def colours(image: Pixels, weight: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the roots of the shares of each colour, a unit vector, shape (DIMENSIONS,).

    weight: how much each pixel of the working image counts, shape (SIDE, SIDE). The cosine of the
    roots of two histograms is the Bhattacharyya coefficient.
    """
    method = cv2.INTER_AREA if min(image.shape[:2]) > SIDE else cv2.INTER_LINEAR
    small = cv2.resize(image, (SIDE, SIDE), interpolation=method)
    hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV_FULL).astype(np.int32)
    hue, saturation, value = (hsv[..., i] * cells // 256 for i, cells in enumerate(_CELLS))
    cells = (hue * _CELLS[1] + saturation) * _CELLS[2] + value
    shares = np.bincount(cells.ravel(), weight.ravel(), minlength=DIMENSIONS)
    return np.asarray(np.sqrt(shares / shares.sum()), np.float32)
