"""The embedding of new libraries: two small networks and the colours of the image.

Knows how their numbers are joined and weighted. The networks were trained on ImageNet; nothing else
was fitted on images, and no part saw products.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from productsearch_engine.embedding import hsv, subject
from productsearch_engine.embedding.calibration import Calibration
from productsearch_engine.embedding.interface import (
    Box,
    Cosines,
    Description,
    Embedding,
    Pixels,
    Scores,
    Vector,
)
from productsearch_engine.embedding.networks import NETWORKS, Maps, Networks
from productsearch_engine.embedding.projection import Projection
from productsearch_engine.embedding.region import cut

_COLOUR = 0.45
"""Weight of the colours, where the networks have 1. With more of it the back of a garment is found
more often and its other colours less often; from 0.4 to 0.55 little changes."""


_WINDOW = 0.6
"""Standard deviation of the centre window, in halves of the sides. A narrower one finds a product
before another ground more often, and a garment's other sides less often."""


class Compact(Embedding):
    """What two networks recognise, wherever it is in the image, and its colours."""

    name = "compact-1"

    def __init__(self) -> None:
        self._networks = Networks()
        self._projection = Projection.load(NETWORKS)
        self._calibration = Calibration.of(self.name)

    @property
    def dimensions(self) -> int:
        """Length of the vectors: 160 of each network and the colours."""
        return self._projection.dimensions + hsv.DIMENSIONS

    def describe(
        self, images: Sequence[Pixels], regions: Sequence[Box | None] | None = None
    ) -> list[Description]:
        """Return vector and subject of each image; a region is cut out before it is looked at."""
        if not images:
            return []
        places = regions or [None] * len(images)
        seen = [cut(image, at) if at else image for image, at in zip(images, places, strict=True)]
        maps = self._networks.see(seen)
        vectors = [self._vector(maps[:, i], image) for i, image in enumerate(seen)]
        return [
            Description(vector, *(subject.find(maps[:, i]) if at is None else (at, True)))
            for i, (vector, at) in enumerate(zip(vectors, places, strict=True))
        ]

    def calibrate(self, cosines: Cosines) -> Scores:
        """Return the chance that two images show the same product, by their cosine."""
        return self._calibration.scores(cosines)

    def _vector(self, maps: Maps, image: Pixels) -> Vector:
        seen = np.einsum("ncyx,yx->nc", maps, _window(*maps.shape[-2:]))
        kept = self._projection.turn(
            seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-12)
        )
        return _unit(np.concatenate([_unit(kept), _COLOUR * hsv.colours(image)]))


def _window(rows: int, columns: int) -> Vector:
    y, x = (((np.arange(n) + 0.5) / n * 2 - 1) / _WINDOW for n in (rows, columns))
    return np.asarray(np.exp(-np.add.outer(y**2, x**2) / 2), np.float32)


def _unit(vector: Vector) -> Vector:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)
