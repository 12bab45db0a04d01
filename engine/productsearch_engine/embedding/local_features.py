"""Says how much of one image is found in another: corners that look alike and lie alike.

Corners are ORB's (Rublee et al., ICCV 2011); they lie alike if one plane's view explains them
(MAGSAC++, Barath et al., CVPR 2020). Knows pixels. Does not know scores.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from productsearch_engine.embedding.interface import Pixels

Grey = NDArray[np.uint8]
"""Brightness, shape (height, width)."""

_SIDE = 192
"""Longest side that is looked at. At 256 it takes half as long again and finds as much."""

_COPY_SIDE = 512
"""Larger images are brought to the side of a small copy first, so that both lose the same."""

_SHORT_SIDE_MIN = 32
"""ORB looks 31 pixels around a corner, and fails on images that it cannot halve."""

_CORNERS = 200
_LEVELS, _STEP = 3, 1.4
"""Sizes at which corners are looked for, each smaller by the step: half as much work as five sizes
with a step of 1.2, which reach as far, and as many hits found."""

_CONTRAST = 8
_CLEARLY = 0.8
"""A corner's best match must be so much nearer than its second best (Lowe, IJCV 2004)."""

_OFF_PX = 5.0
_TRIES = 300

AGREEING_MIN = 8
"""Fewer corners agree by chance."""


class Corners:
    """The corners of one image."""

    def __init__(self, image: Pixels | Grey):
        """Find them; image: RGB, shape (height, width, 3), or grey, (height, width), any size."""
        grey = image
        if image.ndim == 3:
            grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        if max(grey.shape) > _COPY_SIDE:
            grey = _scaled(grey, _COPY_SIDE, cv2.INTER_AREA)
        small = _scaled(grey, _SIDE, cv2.INTER_LINEAR)
        self.places: NDArray[np.float32] = np.empty((0, 2), np.float32)
        if min(small.shape) < _SHORT_SIDE_MIN:
            return
        finder = cv2.ORB.create(_CORNERS, _STEP, _LEVELS, fastThreshold=_CONTRAST)
        found, self.looks = finder.detectAndCompute(small, None)
        if found:
            self.places = np.array([each.pt for each in found], np.float32)

    @classmethod
    def of_copy(cls, webp: bytes) -> Corners | None:
        """Return the corners of a small copy, None if it is not a WebP that can be read.

        Only its brightness is decoded, in two thirds of the time of its colours.
        """
        if webp[:4] != b"RIFF" or webp[8:12] != b"WEBP":
            return None
        try:
            grey = cv2.imdecode(np.frombuffer(webp, np.uint8), cv2.IMREAD_GRAYSCALE)
        except cv2.error:
            return None
        return None if grey is None else cls(np.asarray(grey, np.uint8))

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


def _scaled(grey: Grey, side: int, interpolation: int) -> Grey:
    height, width = (max(1, round(length * side / max(grey.shape))) for length in grey.shape)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=interpolation), np.uint8)
