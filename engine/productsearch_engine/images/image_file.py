"""An image file whose header has been checked: format and sides, before any pixel exists.

Knows magic numbers and Pillow's headers. Does not know where the bytes came from, nor how
pixels are decoded (``images.decode``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from io import BytesIO

from PIL import Image

from productsearch_engine.embedding.interface import Pixels
from productsearch_engine.images import decode
from productsearch_engine.images.errors import (
    ImageEmptyError,
    ImageSizeError,
    ImageUnreadableError,
)
from productsearch_engine.images.small_copy import kept_image
from productsearch_engine.limits import JPEG_SCANS_MAX, KEPT_SIDE_PX, SIDE_PX_MAX, SIDE_PX_MIN

# The contract's own bound is checked on the header, below Pillow's threshold.
Image.MAX_IMAGE_PIXELS = None

_FORMATS = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"BM": "BMP"}
_JPEG_SCAN_MARKER = b"\xff\xda"


@dataclass(frozen=True)
class ImageFile:
    """An image file whose header the contract accepts. Its pixels are not decoded yet."""

    content: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    """SHA-256 of the content: equal bytes are the same image."""

    @classmethod
    def checked(cls, content: bytes) -> ImageFile:
        """Check the header of an image file and return it.

        Raises ImageEmptyError, ImageUnreadableError, ImageSizeError.
        """
        if not content:
            raise ImageEmptyError
        with _open(content) as image:
            if min(image.size) < SIDE_PX_MIN or max(image.size) > SIDE_PX_MAX:
                raise ImageSizeError
        return cls(content, hashlib.sha256(content).digest())

    def pixels(self) -> Pixels:
        """Decode the image as ``images.decode`` describes.

        Raises ImageUnreadableError if the file is truncated or damaged.
        """
        with _open(self.content) as image:
            return decode.pixels(image)

    def small_copy(self) -> bytes:
        """Return the WebP that a library keeps of the image (``images.small_copy``).

        Raises ImageUnreadableError if the file is truncated or damaged.
        """
        with _open(self.content) as image:
            # Decoded anew: embeddings are given fewer pixels, and always the same ones.
            shortest = KEPT_SIDE_PX * min(image.size) // max(image.size)
            return kept_image(decode.pixels(image, max(shortest, 1)))


def _open(content: bytes) -> Image.Image:
    """Read the header of a JPEG, PNG or BMP file."""
    name = next((name for magic, name in _FORMATS.items() if content.startswith(magic)), None)
    if name is None:
        raise ImageUnreadableError
    if name == "JPEG" and content.count(_JPEG_SCAN_MARKER) > JPEG_SCANS_MAX:
        raise ImageUnreadableError
    try:
        return Image.open(BytesIO(content), formats=(name,))
    # Pillow's parsers raise errors of every type for damaged headers.
    except Exception:  # noqa: BLE001
        raise ImageUnreadableError from None
