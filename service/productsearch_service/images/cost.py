"""What decoding an image takes, from its header: pixels are not all of it."""

from __future__ import annotations

import re
from typing import Final

from PIL import Image

from productsearch_service import limits
from productsearch_service.images.inspect import Unreadable

_RGB_BYTES: Final = 4
"""Pillow's own storage of a pixel."""
_DECODER_BYTES: Final = {"WEBP": 16, "HEIF": 10, "AVIF": 10}
"""What these decoders hold for each pixel beside Pillow's storage, measured."""
_COEFFICIENT_BYTES: Final = 2
_SPARE_BYTES: Final = 16 * 1024 * 1024
"""For the encoded result, its base64, and buffers."""
_SCAN: Final = re.compile(rb"\xff\xda\x00[\x08\x0a\x0c\x0e][\x01-\x04]", re.DOTALL)
"""The start of a JPEG's scan. The bytes of images never look so; those of metadata hardly ever."""


def check_cost(
    image: Image.Image, target: tuple[int, int], content: bytes, memory_bytes: int
) -> None:
    """Raise MemoryError if to decode and scale ``image`` takes more than ``memory_bytes``, and
    Unreadable for a JPEG of so many scans that only time would end it.

    ``image`` has its header read and no more; this sets the scale at which it is decoded.
    """
    if image.format in ("JPEG", "MPO"):
        scans = sum(1 for _ in _SCAN.finditer(content))
        if scans > limits.FIT_JPEG_SCANS_MAX:
            raise Unreadable(
                f"a JPEG of {scans} scans; fit takes up to {limits.FIT_JPEG_SCANS_MAX}; "
                "save it anew"
            )
    whole = image.width * image.height
    image.draft(None, target)
    if _needed_bytes(image, target, whole) + len(content) > memory_bytes:
        raise MemoryError


def _needed_bytes(image: Image.Image, target: tuple[int, int], whole_px: int) -> int:
    width, height = image.size
    source = width * height * _RGB_BYTES
    decoded = source + width * height * _DECODER_BYTES.get(image.format or "", 0)
    if image.info.get("progressive"):
        decoded += int(whole_px * _COEFFICIENT_BYTES * _samples(image))
    flat = 0 if image.mode == "RGB" else 2 * source
    narrow = target[0] * height * _RGB_BYTES
    scaled = target[0] * target[1] * _RGB_BYTES
    resize = max(source + narrow, narrow + scaled) if image.size != target else 0
    return max(decoded, flat, resize, 2 * scaled) + _SPARE_BYTES


def _samples(image: Image.Image) -> float:
    """Return the samples for each pixel of a JPEG, 3 or fewer where its colour is subsampled."""
    layers = getattr(image, "layer", ())
    factors = [horizontal * vertical for _, horizontal, vertical, *_ in layers]
    most = max(factors, default=0)
    return sum(factors) / most if most else 4.0
