"""The embedding of new libraries: two small networks and the colours of the image.

Knows how their numbers are joined and weighted. The networks were trained on ImageNet; nothing else
was fitted on images, and no part saw products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from productsearch_engine.embedding import ground, hsv, subject
from productsearch_engine.embedding.calibration import Calibration
from productsearch_engine.embedding.hsv import HARD, Colours, Edges, Weight
from productsearch_engine.embedding.interface import (
    Box,
    Cosines,
    Description,
    Embedding,
    Pixels,
    Scores,
    Vector,
)
from productsearch_engine.embedding.networks import NETWORKS, Maps, networks
from productsearch_engine.embedding.projection import Projection
from productsearch_engine.embedding.region import cut
from productsearch_engine.embedding.subject import Places
from productsearch_engine.embedding.window import window


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How the parts of a version are weighted."""

    colour: float
    """Weight of the colours, where the networks have 1. With more of it rotated images and the
    backs of garments are found more often, and other colours of a garment less often."""

    window: float
    colour_window: float
    """Standard deviations of the centre windows over the networks' maps and over the colours, in
    halves of the sides. Narrower ones find a product before another ground more often, and a
    garment's other sides less often."""

    ground: float
    """Weight of a place that looks like the border of the image, where the product's have 1."""

    edges: Edges = HARD
    """Of the cells of the colours."""

    uneven_colour: float = 0.0
    """Weight of the colours before the most uneven ground. There the product is where it is unlike
    each part of the border, and its pixels are told by their colours as well. 0: all grounds are
    taken for even."""


MIXES = {
    "compact-1": Mix(colour=0.45, window=0.6, colour_window=0.8, ground=1.0),
    "compact-2": Mix(colour=0.475, window=0.7, colour_window=0.7, ground=0.4),
    "compact-3": Mix(
        colour=0.475,
        window=0.7,
        colour_window=0.7,
        ground=0.4,
        edges=(0.6, 0.6, 1.0),
        uneven_colour=0.65,
    ),
}
"""Version by name; decisions 0039 and 0053 have the measurements."""


class Compact(Embedding):
    """What two networks recognise, wherever it is in the image, and its colours."""

    def __init__(self, name: str) -> None:
        """Load a version; name: one of ``MIXES``."""
        self._name, self._mix = name, MIXES[name]
        self._networks = networks()
        self._projection = Projection.load(NETWORKS)
        self._calibration = Calibration.of(name)

    @property
    def name(self) -> str:
        """The version's name."""
        return self._name

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
        return [
            self._description(maps[:, i], image, at)
            for i, (image, at) in enumerate(zip(seen, places, strict=True))
        ]

    def calibrate(self, cosines: Cosines) -> Scores:
        """Return the chance that two images show the same product, by their cosine."""
        return self._calibration.scores(cosines)

    def _description(self, maps: Maps, image: Pixels, at: Box | None) -> Description:
        strange = subject.strangeness(maps)
        vector = self._vector(maps, image, subject.standing_out(strange))
        return Description(vector, *(subject.find(strange) if at is None else (at, True)))

    def _vector(self, maps: Maps, image: Pixels, clear: Places) -> Vector:
        mix = self._mix
        small = hsv.working(image)
        colours, colour = Colours(small, mix.edges), mix.colour
        shares = colours.shares(self._weight(_fine(clear), mix.colour_window))
        uneven = ground.unevenness(Colours(small)) if mix.uneven_colour else 0.0
        if uneven > 0:
            found = subject.standing_out(subject.unlikeness(maps))
            middle = window(hsv.SIDE, hsv.SIDE, mix.colour_window)
            product = ground.product_pixels(colours, _fine(found).astype(np.float64), middle)
            clear = np.asarray(clear + uneven * (found - clear), np.float32)
            shares += uneven * (colours.shares(middle * product) - shares)
            colour += uneven * (mix.uneven_colour - colour)
        pooling = self._weight(clear, mix.window).astype(np.float32)
        seen = np.einsum("ncyx,yx->nc", maps, pooling)
        kept = self._projection.turn(
            seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-12)
        )
        return _unit(np.concatenate([_unit(kept), colour * hsv.roots(shares)]))

    def _weight(self, clear: Places | Weight, spread: float) -> Weight:
        rows, columns = clear.shape
        least = self._mix.ground
        return window(rows, columns, spread) * (least + (1 - least) * clear)


def _fine(places: Places) -> NDArray[np.float32]:
    """Return a number for each pixel of the working image."""
    fine = cv2.resize(places, (hsv.SIDE, hsv.SIDE), interpolation=cv2.INTER_LINEAR)
    return np.asarray(fine, np.float32)


def _unit(vector: Vector) -> Vector:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)
