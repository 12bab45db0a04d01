"""Says how much of one image is found in another: corners that look alike and lie alike.

Corners are ORB's (Rublee et al., ICCV 2011); they lie alike if one plane's view explains them
(MAGSAC++, Barath et al., CVPR 2020). Knows pixels. Does not know scores.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from productsearch_engine.embedding.interface import Pixels

_SIDE = 192
"""Longest side that is looked at. At 256 it takes half as long again and finds as much."""

_SHORT_SIDE_MIN = 32
"""ORB looks 31 pixels around a corner, and fails on images that it cannot halve."""

_CORNERS = 200
_LEVELS = 5
_CONTRAST = 8
_CLEARLY = 0.8
"""A corner's best match must be so much nearer than its second best (Lowe, IJCV 2004)."""

_OFF_PX = 5.0
_TRIES = 300

AGREEING_MIN = 8
"""Fewer corners agree by chance."""


class Corners:
    """The corners of one image."""

    def __init__(self, image: Pixels):
        """Find them; image: RGB, shape (height, width, 3), any size."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        scale = _SIDE / max(grey.shape)
        small = cv2.resize(
            grey,
            (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))),
            interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
        )
        self.places: NDArray[np.float32] = np.empty((0, 2), np.float32)
        if min(small.shape) < _SHORT_SIDE_MIN:
            return
        finder = cv2.ORB.create(_CORNERS, nlevels=_LEVELS, fastThreshold=_CONTRAST)
        found, self.looks = finder.detectAndCompute(small, None)
        if found:
            self.places = np.array([each.pt for each in found], np.float32)

    def agreeing(self, other: Corners) -> int:
        """Return how many corners look and lie alike in both; 0 if it may be chance."""
        if min(len(self.places), len(other.places)) < AGREEING_MIN:
            return 0
        pairs = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(self.looks, other.looks, 2)
        clear = [
            first
            for first, *second in pairs
            if second and first.distance < _CLEARLY * second[0].distance
        ]
        if len(clear) < AGREEING_MIN:
            return 0
        here = self.places[[each.queryIdx for each in clear]]
        there = other.places[[each.trainIdx for each in clear]]
        try:
            _, agree = cv2.findHomography(here, there, cv2.USAC_MAGSAC, _OFF_PX, maxIters=_TRIES)
        except cv2.error:  # corners on one line
            return 0
        count = 0 if agree is None else int(agree.sum())
        return count if count >= AGREEING_MIN else 0
