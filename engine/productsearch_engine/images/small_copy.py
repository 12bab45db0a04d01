"""Makes the small copy of an image that a library keeps: for other embeddings, and for people.

Knows pixels and WebP. Does not know where the copy is kept.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from productsearch_engine.embedding.interface import Pixels
from productsearch_engine.limits import KEPT_SIDE_PX

_QUALITY = 80
_EFFORT = 2  # of 0 to 6: the default, 4, takes twice the time and saves a tenth of the bytes


def kept_image(pixels: Pixels) -> bytes:
    """Return a WebP of an upright RGB image, its longest side at most ``KEPT_SIDE_PX``.

    pixels: shape (height, width, 3), uint8. A smaller image keeps its size.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((KEPT_SIDE_PX, KEPT_SIDE_PX), Image.Resampling.BOX, reducing_gap=None)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY, method=_EFFORT)
    return buffer.getvalue()


def read_kept(webp: bytes) -> Pixels:
    """Return the pixels of a copy, shape (height, width, 3)."""
    with Image.open(io.BytesIO(webp), formats=("WEBP",)) as image:
        return np.asarray(image.convert("RGB"), np.uint8)
