"""Compares an image with the small copies of some stored ones: runs in a worker process.

Knows local features and what they add to a cosine. Does not know the ranking.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from productsearch_engine.embedding.interface import Box, Pixels
from productsearch_engine.embedding.local_features import Corners
from productsearch_engine.embedding.region import cut
from productsearch_engine.images.image_file import ImageFile
from productsearch_engine.images.small_copy import read_kept


def agreeing(content: bytes, region: Box | None, copies: Sequence[bytes]) -> bytes:
    """Return how many corners of an image each copy shares with it: uint16, little endian.

    copies: WebP, empty for an image without one. Raises ImageError.
    """
    searched = _corners(ImageFile.checked(content).pixels(), region)
    counts = [searched.agreeing(_corners(read_kept(copy))) if copy else 0 for copy in copies]
    return np.array(counts, "<u2").tobytes()


def _corners(image: Pixels, region: Box | None = None) -> Corners:
    return Corners(cut(image, region) if region else image)
