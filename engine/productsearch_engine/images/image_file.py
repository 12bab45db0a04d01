"""From an ``image`` value to checked pixels: base64, format, size, decoding.

Answers for refusing what the contract refuses before any pixel is allocated, and for
giving the embedding an upright RGB picture no larger than it needs. Does not know where
a picture came from, nor what becomes of it.
"""

from __future__ import annotations

import binascii
import hashlib
import threading
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
import pybase64
from PIL import Image

from productsearch_engine.api import codes
from productsearch_engine.api.codes import ApiError
from productsearch_engine.embedding import Pixels
from productsearch_engine.limits import (
    EMBEDDED_SIDE_PX_MIN,
    ENCODED_BYTES_MAX,
    JPEG_SCANS_MAX,
    LARGE_DECODES_MAX,
    LARGE_PX,
    SIDE_PX_MAX,
    SIDE_PX_MIN,
)

# The contract's own bound is checked on the header, below Pillow's threshold.
Image.MAX_IMAGE_PIXELS = None

_FORMATS = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"BM": "BMP"}
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


def from_base64(encoded: bytes) -> bytes:
    """Return the bytes of an ``image`` value. Raises ApiError 216200 to 216203."""
    if not encoded:
        raise ApiError(codes.IMAGE_EMPTY)
    # A plus that arrived unescaped was read as a blank.
    encoded = encoded.replace(b" ", b"+")
    # The bound is on the urlencoded value, whichever way this one was sent; most are so small
    # that nothing need be counted.
    if 3 * len(encoded) > ENCODED_BYTES_MAX:
        escapes = encoded.count(b"+") + encoded.count(b"/") + encoded.count(b"=")
        if len(encoded) + 2 * escapes > ENCODED_BYTES_MAX:
            raise ApiError(codes.IMAGE_SIZE)
    if encoded.startswith(b"data:") or b"%" in encoded:
        raise ApiError(codes.IMAGE_FORMAT)
    with suppress(binascii.Error):  # it refuses more, such as padding that is too long
        return pybase64.b64decode(encoded, validate=True)
    try:
        return binascii.a2b_base64(encoded, strict_mode=True)
    except binascii.Error:
        raise ApiError(codes.IMAGE_ENCODING) from None


@dataclass(frozen=True)
class Picture:
    """A picture whose header the contract accepts; its pixels are not decoded yet."""

    content: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    """SHA-256 of the content: equal bytes are the same picture."""

    @classmethod
    def of(cls, content: bytes) -> Picture:
        """Check the header. Raises ApiError 216200 empty, 216201 format, 216202 sides."""
        if not content:
            raise ApiError(codes.IMAGE_EMPTY)
        with _open(content) as image:
            if min(image.size) < SIDE_PX_MIN or max(image.size) > SIDE_PX_MAX:
                raise ApiError(codes.IMAGE_SIZE)
        return cls(content, hashlib.sha256(content).digest())

    def pixels(self) -> Pixels:
        """Decode, scaled down by 2, 4 or 8 while the shortest side stays at 256 or more.

        Upright by its EXIF orientation, transparency over white. Raises ApiError 216201 if
        the picture is truncated or damaged.
        """
        with _open(self.content) as image:
            large = image.format in ("PNG", "BMP") and image.width * image.height > LARGE_PX
            try:
                with _large_decodes if large else nullcontext():
                    return _pixels(image)
            # Pillow's decoders raise whatever their parsers raise, and all of it means
            # one thing here: these bytes are no picture.
            except Exception:  # noqa: BLE001
                raise ApiError(codes.IMAGE_FORMAT) from None


def _open(content: bytes) -> Image.Image:
    """Read the header alone, of the three formats alone."""
    name = next((name for magic, name in _FORMATS.items() if content.startswith(magic)), None)
    if name is None:
        raise ApiError(codes.IMAGE_FORMAT)
    if name == "JPEG" and content.count(b"\xff\xda") > JPEG_SCANS_MAX:
        raise ApiError(codes.IMAGE_FORMAT)
    try:
        return Image.open(BytesIO(content), formats=(name,))
    except Exception:  # noqa: BLE001 - as above
        raise ApiError(codes.IMAGE_FORMAT) from None


def _pixels(image: Image.Image) -> Pixels:
    orientation = _orientation(image)
    shortest = min(image.size)
    # JPEG scales while it decodes; what draft() could not do, reduce() does afterwards.
    image.draft(None, (EMBEDDED_SIDE_PX_MIN, EMBEDDED_SIDE_PX_MIN))
    image.load()
    flat = _direct_colour(image)
    factor = 1
    while factor < 8 and shortest // (factor * 2) >= EMBEDDED_SIDE_PX_MIN:
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
    # Damaged metadata is no reason to refuse a picture; Pillow raises as it does above.
    except Exception:  # noqa: BLE001
        return None


def _direct_colour(image: Image.Image) -> Image.Image:
    """Return the picture as L, RGB or RGBA; 16-bit greys by their high byte."""
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
