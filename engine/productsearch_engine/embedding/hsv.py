"""Describes the colours of an image by a histogram of hue, saturation and value.

Knows pixels. Does not know what else describes an image.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from productsearch_engine.embedding.interface import Pixels

_CELLS = (12, 4, 4)
_SIDE = 128  # working images are squares of this side
_WINDOW = 0.8  # standard deviation of the centre window, in halves of the side

DIMENSIONS = 12 * 4 * 4


def colours(image: Pixels) -> NDArray[np.float32]:
    """Return the roots of the shares of each colour, a unit vector, shape (DIMENSIONS,).

    A Gaussian window makes the middle count most: there the product is, in a photograph as on
    white. The cosine of the roots of two histograms is the Bhattacharyya coefficient.
    """
    method = cv2.INTER_AREA if min(image.shape[:2]) > _SIDE else cv2.INTER_LINEAR
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=method)
    hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV_FULL).astype(np.int32)
    hue, saturation, value = (hsv[..., i] * cells // 256 for i, cells in enumerate(_CELLS))
    cells = (hue * _CELLS[1] + saturation) * _CELLS[2] + value
    place = ((np.arange(_SIDE) + 0.5) / _SIDE * 2 - 1) / _WINDOW
    window = np.exp(-np.add.outer(place**2, place**2) / 2)
    shares = np.bincount(cells.ravel(), window.ravel(), minlength=DIMENSIONS)
    return np.asarray(np.sqrt(shares / shares.sum()), np.float32)
