"""A mark that files of one image share: scaled, recompressed, converted.

It is the image in 16 x 16 places, each with its mean colour. A hash of 64 bits was tried (the
difference hash): two products of one colour in the middle of white images have the same.
"""

from __future__ import annotations

from PIL import Image

from productsearch_engine.embedding.interface import Pixels

_PLACES = 16


def mark(image: Pixels) -> bytes:
    """Return 768 bytes of an RGB image, shape (height, width, 3), uint8: row by row, RGB."""
    small = Image.fromarray(image).resize((_PLACES, _PLACES), Image.Resampling.BOX)
    return small.tobytes()
