"""Decodes an opened image into upright RGB pixels, no larger than the embedding needs.

Knows Pillow's colour modes, EXIF orientation and transparency. Does not know file formats'
limits: ``images.image_file`` has checked the header before.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext

import numpy as np
from PIL import Image

from productsearch_engine.embedding.interface import Pixels
from productsearch_engine.images.errors import ImageUnreadableError
from productsearch_engine.limits import EMBEDDED_SIDE_PX_MIN, LARGE_DECODES_MAX, LARGE_PX

_large_decodes = threading.Semaphore(LARGE_DECODES_MAX)
_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def pixels(image: Image.Image, side_px_min: int = EMBEDDED_SIDE_PX_MIN) -> Pixels:
    """Decode, scaled down by 2, 4 or 8 while the shortest side stays at ``side_px_min`` or more.

    The result is turned upright by its EXIF orientation and laid over white where it is
    transparent. Raises ImageUnreadableError if the file is truncated or damaged.
    """
    large = image.format in ("PNG", "BMP") and image.width * image.height > LARGE_PX
    try:
        with _large_decodes if large else nullcontext():
            return _decode(image, side_px_min)
    # Pillow's decoders raise errors of every type for damaged files.
    except Exception:  # noqa: BLE001
        raise ImageUnreadableError from None


def _decode(image: Image.Image, side_px_min: int) -> Pixels:
    orientation = _orientation(image)
    shortest = min(image.size)
    # JPEG scales while it decodes; what draft() could not do, reduce() does afterwards.
    image.draft(None, (side_px_min, side_px_min))
    image.load()
    flat = _direct_colour(image)
    factor = 1
    while factor < 8 and shortest // (factor * 2) >= side_px_min:
        factor *= 2
    left = factor * min(flat.size) // shortest
    if left > 1:
        flat = flat.reduce(left)
    flat = _over_white(flat)
    if isinstance(orientation, int) and orientation in _UPRIGHT:
        flat = flat.transpose(_UPRIGHT[orientation])
    return np.asarray(flat, dtype=np.uint8)


def _orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(_EXIF_ORIENTATION)
    # Damaged metadata is no reason to refuse an image.
    except Exception:  # noqa: BLE001
        return None


def _direct_colour(image: Image.Image) -> Image.Image:
    """Return the image as L, RGB or RGBA; 16-bit greys by their high byte."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("L", "RGB", "RGBA") and "transparency" not in image.info:
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")
