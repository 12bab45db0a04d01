"""Says how much of one image is found in another: corners that look alike and lie alike.

Corners are ORB's (Rublee et al., ICCV 2011); they lie alike if one plane's view explains them
(MAGSAC++, Barath et al., CVPR 2020). Knows pixels. Does not know scores.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from productsearch_engine.embedding.glance import Grey

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

    def __init__(self, grey: Grey):
        """Find them; grey: at the side of a glance (``glance.brightness``)."""
        self.places: NDArray[np.float32] = np.empty((0, 2), np.float32)
        if min(grey.shape) < _SHORT_SIDE_MIN:
            return
        finder = cv2.ORB.create(_CORNERS, _STEP, _LEVELS, fastThreshold=_CONTRAST)
        found, self.looks = finder.detectAndCompute(grey, None)
        if found:
            self.places = np.asarray(cv2.KeyPoint.convert(found), np.float32)

    def agreeing(self, other: Corners) -> int:
        """Return how many corners look and lie alike in both; 0 if it may be chance."""
        if min(len(self.places), len(other.places)) < AGREEING_MIN:
            return 0
        # One call for all pairs: a matcher makes an object of each, in ten times the time.
        apart, places = cv2.batchDistance(
            self.looks, other.looks, cv2.CV_32S, normType=cv2.NORM_HAMMING, K=2
        )
        clear = apart[:, 0] < _CLEARLY * apart[:, 1]
        if clear.sum() < AGREEING_MIN:
            return 0
        here, there = self.places[clear], other.places[places[clear, 0]]
        try:
            _, agree = cv2.findHomography(here, there, cv2.USAC_MAGSAC, _OFF_PX, maxIters=_TRIES)
        except cv2.error:  # corners on one line
            return 0
        count = 0 if agree is None else int(agree.sum())
        return count if count >= AGREEING_MIN else 0
