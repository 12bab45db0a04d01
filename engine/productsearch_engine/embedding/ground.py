"""Tells how uneven the ground of an image is, and which pixels have the product's colours.

Knows the colours of an image, and where its product seems to be. Does not know networks.
"""

from __future__ import annotations

import numpy as np

from productsearch_engine.embedding.hsv import SIDE, Colours, Weight

_RIM_PX = 8  # of the working image: the outermost pixels are taken for ground
_RIM = np.pad(np.zeros((SIDE - 2 * _RIM_PX,) * 2), _RIM_PX, constant_values=1.0)

_EVEN, _UNEVEN = 0.6, 0.85
"""Images of shops, on white, are mostly below 0.5; photographs of shelves are about 0.9."""

_PRIOR = 0.01  # added to each share: of a rarer colour it is not known whose it is
_WEIGHT_MIN = 1e-9  # where nothing stands out all pixels count alike, and not none


def unevenness(colours: Colours) -> float:
    """Return how uneven the ground is, 0 to 1.

    Measured by the chance that two pixels along the border have different colours (Simpson,
    Nature 1949). colours: with hard edges.
    """
    different = 1 - float((colours.shares(_RIM) ** 2).sum())
    return min(max((different - _EVEN) / (_UNEVEN - _EVEN), 0.0), 1.0)


def product_pixels(colours: Colours, product: Weight, window: Weight) -> Weight:
    """Return how likely each pixel is the product's, by its colour as well, shape (SIDE, SIDE).

    product: how likely by other signs, 0 to 1; window: how likely a product is there at all.
    Bayes' rule, with the colours where the product seems to be and those where it does not.
    """
    product = product + _WEIGHT_MIN
    inside = colours.shares(product * window) + _PRIOR
    outside = colours.shares(1 + 2 * _WEIGHT_MIN - product) + _PRIOR
    return np.asarray(product * colours.of_pixels(inside / (inside + outside)))
