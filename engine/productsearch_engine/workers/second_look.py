"""Compares an image with the small copies of some stored ones: runs in a worker process.

Knows local features and what they add to a cosine. Does not know the ranking.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from productsearch_engine.embedding.interface import Box
from productsearch_engine.embedding.local_features import Corners
from productsearch_engine.embedding.region import cut
from productsearch_engine.images.image_file import ImageFile


def agreeing(content: bytes, region: Box | None, copies: Sequence[bytes]) -> bytes:
    """Return how many corners of an image each copy shares with it: uint16, little endian.

    copies: WebP, empty for an image without one; one that cannot be read agrees with nothing.
    Raises ImageError.
    """
    image = ImageFile.checked(content).pixels()
    searched = Corners(cut(image, region) if region else image)
    found = [Corners.of_copy(copy) for copy in copies]
    counts = [0 if each is None else searched.agreeing(each) for each in found]
    return np.array(counts, "<u2").tobytes()
