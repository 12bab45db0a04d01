"""Makes the small copy of an image that a library keeps: for other embeddings, and for people.

Knows pixels and WebP. Does not know where the copy is kept.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from productsearch_engine.embedding.interface import Pixels
from productsearch_engine.images.errors import ImageUnreadableError
from productsearch_engine.images.glance_chunk import with_glance
from productsearch_engine.limits import KEPT_SIDE_PX, THUMBNAIL_SIDE_PX

_QUALITY = 80
_EFFORT = 2  # of 0 to 6: the default, 4, takes twice the time and saves a tenth of the bytes


def kept_image(pixels: Pixels) -> bytes:
    """Return a WebP of an upright RGB image, its longest side at most ``KEPT_SIDE_PX``.

    pixels: shape (height, width, 3), uint8. A smaller image keeps its size. The file has the
    image's glance in it as well.
    """
    # Here, for OpenCV, which takes 16 MB: others only read copies.
    from productsearch_engine.embedding.glance import encoded

    return with_glance(_webp(Image.fromarray(pixels), KEPT_SIDE_PX), encoded(pixels))


def read_kept(webp: bytes) -> Pixels:
    """Return the pixels of a copy, shape (height, width, 3)."""
    with Image.open(io.BytesIO(webp), formats=("WEBP",)) as image:
        return np.asarray(image.convert("RGB"), np.uint8)


def read_copy(webp: bytes) -> Pixels:
    """Return what ``read_kept`` does. Raises ImageUnreadableError, MemoryError."""
    try:
        return read_kept(webp)
    except MemoryError:
        raise
    # Pillow's decoders raise errors of every type for damaged files.
    except Exception:  # noqa: BLE001
        raise ImageUnreadableError from None


def thumbnail(webp: bytes) -> tuple[bytes, tuple[int, int]]:
    """Return a smaller WebP of a copy, and its width and height in pixels.

    Its longest side is at most ``THUMBNAIL_SIDE_PX``. Raises ImageUnreadableError, MemoryError.
    """
    image = Image.fromarray(read_copy(webp))
    return _webp(image, THUMBNAIL_SIDE_PX), image.size


def _webp(image: Image.Image, side_px: int) -> bytes:
    image.thumbnail((side_px, side_px), Image.Resampling.BOX, reducing_gap=None)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY, method=_EFFORT)
    return buffer.getvalue()
