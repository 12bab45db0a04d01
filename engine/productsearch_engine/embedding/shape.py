"""Describes which edges lie next to each other: corners, strokes and print on the product.

Knows the lightness of an image and weights. Does not know colours.
"""

from __future__ import annotations

import cv2
import numpy as np

from productsearch_engine.embedding.colour import Floats, Lab
from productsearch_engine.embedding.covariance import log_covariance

_DIRECTIONS = 6
_CELL = 8  # pixels of the working image between the four cells of a patch
_STRIDE = 4
_NOISE_STRENGTH = 1.0  # added to the norm, so that noise of this strength is not amplified
_FEATURES = 4 * _DIRECTIONS

DIMENSIONS = _FEATURES * (_FEATURES + 1) // 2


def shape(lab: Lab, weight: Floats) -> Floats:
    """Return the log-covariance of dense patches of 2 x 2 cells, shape (DIMENSIONS,).

    Each patch is a small SIFT: edge directions pooled in cells, normalised, square
    root taken (Lowe, IJCV 2004; Arandjelovic and Zisserman, CVPR 2012). Their
    covariance takes the place of a learned vocabulary. Mirrored patches count as well,
    so that mirroring an image does not change it.
    """
    energy = np.dstack([_pooled(e) for e in _directed_edges(lab)])[::_STRIDE, ::_STRIDE]
    step = _CELL // _STRIDE
    height, width = energy.shape[0] - step, energy.shape[1] - step
    patches = np.concatenate(
        [energy[y : y + height, x : x + width] for y in (0, step) for x in (0, step)], -1
    ).reshape(-1, _FEATURES)
    strength = np.linalg.norm(patches, axis=1, keepdims=True)
    roots = np.sqrt(patches / (strength + _NOISE_STRENGTH))
    middle = weight[_CELL // 2 :: _STRIDE, _CELL // 2 :: _STRIDE][:height, :width].ravel()
    both = np.concatenate([roots, roots[:, _mirrored()]])
    return log_covariance(both, np.concatenate([middle, middle]), noise=1e-3)


def _mirrored() -> list[int]:
    """Return where each feature of a patch goes when the image is mirrored."""
    return [
        (2 * row + 1 - column) * _DIRECTIONS + (_DIRECTIONS // 2 - direction) % _DIRECTIONS
        for row in (0, 1)
        for column in (0, 1)
        for direction in range(_DIRECTIONS)
    ]


def _directed_edges(lab: Lab) -> list[Floats]:
    """Return edge strength by direction, soft between neighbouring directions."""
    smooth = cv2.GaussianBlur(np.ascontiguousarray(lab[..., 0]), (0, 0), 1.0)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
    flatness = 1 / np.maximum(across * across + down * down, np.float32(1e-6))
    edges = []
    for angle in 2 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS:
        along = across * np.float32(np.cos(angle)) + down * np.float32(np.sin(angle))
        ahead = np.maximum(along, np.float32(0))
        # Not ``** 3``, for which numpy takes ten times as long.
        edges.append(np.asarray(ahead * ahead * ahead * flatness, np.float32))
    return edges


def _pooled(edges: Floats) -> Floats:
    return np.asarray(cv2.GaussianBlur(edges, (0, 0), _CELL / 2), np.float32)
