"""Finds the product in an image by its colours, and describes its colours.

Knows CIELAB images. Does not know texture, shape, or what the numbers are used for.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Lab = NDArray[np.float32]
"""CIELAB image, shape (height, width, 3): lightness 0..100, a and b about -110..110."""

_LIGHTNESS_CELLS = 8
_CHROMA_CELLS = 24
_CHROMA_MAX = 60.0  # higher chroma is rare in products and falls into the outermost cell

# Anchors are denser in chroma than in lightness: shade and exposure change lightness
# from one photograph to the next, the hue and saturation of a product stay.
_ANCHOR_LIGHTNESS = (14.0, 38.0, 62.0, 86.0)
_ANCHOR_RINGS = ((0.0, 1), (8.0, 6), (16.0, 10), (26.0, 14), (38.0, 18), (52.0, 20))
_ANCHOR_REACH = (14.0, 4.0, 4.0)

DIMENSIONS = len(_ANCHOR_LIGHTNESS) * sum(spokes for _, spokes in _ANCHOR_RINGS)

_RIM = 8  # pixels of the working image that count as its border
_SHARE_PRIOR = 2e-4  # added to each share: a rarer colour says nothing about foreground
_ASSIGNED_MIN = 1e-24
"""A smaller share of a cell in an anchor changes no bit of a stored vector. Smaller numbers are
subnormal, or have subnormal products, and a processor multiplies those ten times as slowly."""


@cache
def assignment() -> Floats:
    """Return each fine colour cell's soft shares in the anchors, shape (cells, anchors).

    Soft shares keep a histogram steady when a colour crosses the edge of a cell
    (visual word ambiguity: van Gemert et al., PAMI 2010).
    """
    anchors = [
        (lightness, radius * np.cos(angle), radius * np.sin(angle))
        for lightness in _ANCHOR_LIGHTNESS
        for radius, spokes in _ANCHOR_RINGS
        for angle in 2 * np.pi * np.arange(spokes) / spokes
    ]
    lightness = (np.arange(_LIGHTNESS_CELLS) + 0.5) / _LIGHTNESS_CELLS * 100
    chroma = ((np.arange(_CHROMA_CELLS) + 0.5) / _CHROMA_CELLS * 2 - 1) * _CHROMA_MAX
    cells = np.stack(np.meshgrid(lightness, chroma, chroma, indexing="ij"), -1)
    offsets = (cells.reshape(-1, 1, 3) - np.array(anchors)) / _ANCHOR_REACH
    distance = (offsets**2).sum(-1)
    share = np.exp((distance.min(1, keepdims=True) - distance) / 2)
    share /= share.sum(1, keepdims=True)
    return np.asarray(np.where(share < _ASSIGNED_MIN, 0, share), np.float32)


def colour_cells(lab: Lab) -> NDArray[np.int32]:
    """Return each pixel's fine colour cell, shape (height, width)."""
    counts = (_LIGHTNESS_CELLS, _CHROMA_CELLS, _CHROMA_CELLS)
    low = np.array([0, -_CHROMA_MAX, -_CHROMA_MAX], np.float32)
    span = np.array([100, 2 * _CHROMA_MAX, 2 * _CHROMA_MAX], np.float32)
    position = (lab - low) * (np.array(counts, np.float32) / span)
    lightness, a, b = (
        np.clip(position[..., i], 0, count - 1).astype(np.int32) for i, count in enumerate(counts)
    )
    return np.asarray((lightness * _CHROMA_CELLS + a) * _CHROMA_CELLS + b, np.int32)


def colour_shares(cells: NDArray[np.int32], weight: Floats) -> Floats:
    """Return the weighted share of each anchor colour, shape (DIMENSIONS,), sum 1."""
    fine = np.bincount(cells.ravel(), weight.ravel(), minlength=len(assignment()))
    shares = (fine / fine.sum()).astype(np.float32)
    # Not ``@``: BLAS divides this sum among its threads, so that the last bits would
    # depend on the number of cores, and its waiting threads cost processor time.
    return np.asarray(np.einsum("c,ca->a", shares, assignment()))


def foreground(cells: NDArray[np.int32]) -> Floats:
    """Return each pixel's weight as part of the product, shape (height, width), above 0.

    A colour that is common in the middle and rare along the border is likely the
    product's: Bayes' rule with the border as sample of the background (boundary
    prior: Wei et al., ECCV 2012). An image without background keeps equal weights.
    """
    height, width = cells.shape
    border = np.ones(cells.shape, np.float32)
    border[_RIM:-_RIM, _RIM:-_RIM] = 0
    inside = colour_shares(cells, _window(height, width, 0.5)) + _SHARE_PRIOR
    outside = colour_shares(cells, border) + _SHARE_PRIOR
    likelihood = np.einsum("ca,a->c", assignment(), inside / (inside + outside))
    return np.asarray(likelihood[cells] ** 2 * _window(height, width, 0.8))


def _window(height: int, width: int, spread: float) -> Floats:
    """Return a Gaussian over the image; ``spread`` in halves of its height and width."""
    y, x = (((np.arange(n) + 0.5) / n * 2 - 1) / spread for n in (height, width))
    return np.asarray(np.outer(np.exp(-(y**2) / 2), np.exp(-(x**2) / 2)), np.float32)
