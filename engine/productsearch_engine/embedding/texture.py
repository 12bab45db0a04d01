"""Describes how colours vary together at three scales: the texture of the product.

Knows CIELAB images and weights. Does not know single colours or outlines.
"""

from __future__ import annotations

import cv2
import numpy as np

from productsearch_engine.embedding.colour import Floats, Lab
from productsearch_engine.embedding.covariance import log_covariance

_SPREADS = (1.0, 2.0, 4.0)  # pixels of the working image, an octave apart
_STRIDE = 2  # features are smoothed, so neighbours are nearly equal
_FEATURES = 3 + len(_SPREADS) * 6

DIMENSIONS = _FEATURES * (_FEATURES + 1) // 2


def texture(lab: Lab, weight: Floats) -> Floats:
    """Return the log-covariance of colour, edge strength and blobs, shape (DIMENSIONS,).

    Edge strength and difference of Gaussians in each of the three channels, at three
    scales. None of them changes when the image is rotated or mirrored.
    """
    unit = lab / np.float32(20)  # brings all features to variances around 1
    planes = [unit]
    for spread in _SPREADS:
        smooth = cv2.GaussianBlur(unit, (0, 0), spread)
        across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=spread / 2)
        down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=spread / 2)
        # Not cv2.magnitude: its last bit depends on where the array lies in memory.
        edges = np.sqrt(across * across + down * down)
        blobs = (smooth - cv2.GaussianBlur(smooth, (0, 0), spread)) * 2
        planes += [np.asarray(plane, np.float32) for plane in (edges, blobs)]
    features = np.concatenate([plane[::_STRIDE, ::_STRIDE] for plane in planes], -1)
    places = weight[::_STRIDE, ::_STRIDE].ravel()
    return log_covariance(features.reshape(-1, _FEATURES), places, noise=3e-2)
