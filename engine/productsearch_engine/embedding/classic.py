"""The embedding of older libraries: colour, texture and local shape, without weights.

Knows how the three descriptors are joined. Does not know where an image came from. No
parameter was learned from photographs, but its parts were chosen on photographs of 24
groceries, and it is worse on other products.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

from productsearch_engine.embedding import colour, shape, texture
from productsearch_engine.embedding.colour import Floats
from productsearch_engine.embedding.dead_leaves import dead_leaves
from productsearch_engine.embedding.interface import Box, Description, Embedding, Pixels, Vector
from productsearch_engine.embedding.region import cut

_SIDE = 192  # working images have the area of a square of this side, in pixels
_SIDE_MIN = 32
_PRIOR_IMAGES = 24

# Colour says most about a product, so it weighs most.
_WEIGHTS = (1.0, 0.7, 0.8)


class Classic(Embedding):
    """Colours of the foreground, covariance of its texture, covariance of its edges."""

    name = "classic-1"
    dimensions = colour.DIMENSIONS + texture.DIMENSIONS + shape.DIMENSIONS

    def __init__(self) -> None:
        # Calls already run in parallel; threads inside each call would only wait for each other.
        cv2.setNumThreads(1)
        _common()  # takes a fraction of a second, which the first call would wait for

    def describe(
        self, images: Sequence[Pixels], regions: Sequence[Box | None] | None = None
    ) -> list[Description]:
        """Return the vector of each image, or of its region; no subject is looked for.

        Equal pixels give equal vectors. A cosine means something else for each kind of product:
        the median for photographs of the same product is 0.80 on groceries that the parts were
        chosen on, 0.54 on other groceries, 0.56 on clothes.
        """
        places = regions or [None] * len(images)
        return [
            Description(self._vector(cut(image, place) if place else image), place)
            for image, place in zip(images, places, strict=True)
        ]

    def _vector(self, pixels: Pixels) -> Vector:
        blocks = zip(_WEIGHTS, _blocks(pixels), _common(), strict=True)
        vector = np.concatenate([weight * _unit(own - common) for weight, own, common in blocks])
        return _unit(vector)


def _blocks(pixels: Pixels) -> tuple[Floats, Floats, Floats]:
    lab = _working_image(pixels)
    cells = colour.colour_cells(lab)
    weight = colour.foreground(cells)
    # The cosine of the roots of two histograms is the Bhattacharyya coefficient, in which large
    # plain areas weigh less.
    shares = np.sqrt(colour.colour_shares(cells, weight))
    return shares, _unit(texture.texture(lab, weight)), _unit(shape.shape(lab, weight))


def _working_image(pixels: Pixels) -> Floats:
    height, width = pixels.shape[:2]
    scale = _SIDE / np.sqrt(height * width)
    size = (max(_SIDE_MIN, round(width * scale)), max(_SIDE_MIN, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(pixels, size, interpolation=method).astype(np.float32) / np.float32(255)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), np.float32)


@cache
def _common() -> tuple[Floats, ...]:
    """Return each block's mean over synthetic images (``dead_leaves``).

    The mean is subtracted. Without that, unrelated photographs have a cosine of 0.79, because
    all have edges and grey. Synthetic images favour no set of photographs.
    """
    drawn = [_blocks(dead_leaves(seed, _SIDE)) for seed in range(_PRIOR_IMAGES)]
    return tuple(np.mean(block, axis=0, dtype=np.float32) for block in zip(*drawn, strict=True))


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)
