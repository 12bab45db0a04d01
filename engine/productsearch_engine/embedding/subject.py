"""Finds where the product is: the places that look unlike the border of the image.

Knows the last maps of networks. Does not know pixels. The border is a sample of the background
(boundary prior: Wei et al., ECCV 2012).
"""

from __future__ import annotations

import numpy as np

from productsearch_engine.embedding.interface import Box
from productsearch_engine.embedding.networks import Maps

_SHARE = 0.5  # of the greatest difference: a place above it belongs to the product


def find(maps: Maps) -> Box:
    """Return the box of the product, or the whole image if nothing stands out.

    maps: of one image, shape (networks, channels, rows, columns). The box is as exact as a place
    of the maps is large, a ninth of the image.
    """
    rows, columns = maps.shape[-2:]
    places = maps.transpose(2, 3, 0, 1).reshape(rows, columns, -1)
    edge = np.ones((rows, columns), bool)
    edge[1:-1, 1:-1] = False
    strange = np.linalg.norm(places - places[edge].mean(0), axis=-1)
    inside = strange - np.median(strange[edge])
    inside[edge] *= 0.5
    greatest = float(inside.max())
    if greatest <= 0:
        return Box(0, 0, 1, 1)
    found = inside >= _SHARE * greatest
    ys, xs = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    # A place of the map sees further than its cell: half a cell on each side.
    left, top = max(xs[0] - 0.5, 0), max(ys[0] - 0.5, 0)
    right, bottom = min(xs[-1] + 1.5, columns), min(ys[-1] + 1.5, rows)
    return Box(
        float(left / columns),
        float(top / rows),
        float((right - left) / columns),
        float((bottom - top) / rows),
    )
