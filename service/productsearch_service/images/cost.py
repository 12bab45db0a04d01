"""What decoding an image takes, from its header: pixels are not all of it."""

from __future__ import annotations

import re
from typing import Final

from PIL import Image, JpegImagePlugin

from productsearch_service import limits
from productsearch_service.images import flatten
from productsearch_service.images.inspect import SizeInvalid, Unreadable

_RGB_BYTES: Final = 4
"""Pillow's own storage of a pixel."""
_DECODER_BYTES: Final = {"WEBP": 13, "HEIF": 7, "AVIF": 7}
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
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        scans = sum(1 for _ in _SCAN.finditer(content))
        if scans > limits.FIT_JPEG_SCANS_MAX:
            raise Unreadable(
                f"a JPEG of {scans} scans; fit takes up to {limits.FIT_JPEG_SCANS_MAX}; "
                "save it anew"
            )
    whole = image.width * image.height
    image.draft(None, target)
    needed = _needed_bytes(image, target) + len(content)
    if isinstance(image, JpegImagePlugin.JpegImageFile) and not _has_one_scan(image, content):
        needed += int(whole * _COEFFICIENT_BYTES * _samples(image))
    if needed > memory_bytes:
        raise MemoryError


def _needed_bytes(image: Image.Image, target: tuple[int, int]) -> int:
    width, height = image.size
    source = width * height * _RGB_BYTES
    decoded = source + width * height * _DECODER_BYTES.get(image.format or "", 0)
    flat = 0 if image.mode == "RGB" else 2 * source
    turned = 2 * target[0] * target[1] * _RGB_BYTES
    scaled = flatten.needed_bytes(image.size, target) if image.size != target else 0
    return max(decoded, flat, scaled, turned) + _SPARE_BYTES


def _has_one_scan(image: JpegImagePlugin.JpegImageFile, content: bytes) -> bool:
    """Whether the first scan has the whole image. Otherwise its coefficients are held until the
    last scan, at full size whatever the scale.
    """
    if image.info.get("progressive"):
        return False
    scan = content.rfind(b"\xff\xda", 0, image.fp.tell()) if image.fp else -1
    return scan < 0 or content[scan + 4] == image.layers


def has_all_scans(image: JpegImagePlugin.JpegImageFile, content: bytes) -> bool:
    """Whether the scans give every coefficient of every component to its last bit."""
    missing = {(component[0], place) for component in image.layer for place in range(64)}
    for found in _SCAN.finditer(content):
        at, count = found.end(), content[found.end() - 1]
        described = content[at : at + 2 * count + 3]
        if len(described) < 2 * count + 3:
            break
        first, last, bits = described[2 * count :]
        if not bits & 15:
            places = range(first, min(last, 63) + 1)
            missing -= {(each, place) for each in described[: 2 * count : 2] for place in places}
    return not missing


def _samples(image: JpegImagePlugin.JpegImageFile) -> float:
    """Return the samples for each pixel, fewer than its components where colour is subsampled."""
    factors = [horizontal * vertical for _, horizontal, vertical, _ in image.layer]
    most = max(factors, default=0)
    return sum(factors) / most if most else 4.0


def check_canvas(content: bytes, memory_bytes: int) -> None:
    """Raise SizeInvalid or MemoryError for a WebP whose pixels are too many: the decoder takes
    memory for them as soon as it is opened.
    """
    if not content.startswith(b"RIFF") or content[8:12] != b"WEBP":
        return
    kind = content[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (int.from_bytes(content[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    if width * height > limits.FIT_PIXELS_MAX:
        raise SizeInvalid(
            f"{width} x {height} pixels; fit takes up to {limits.FIT_PIXELS_MAX} pixels in all"
        )
    if width * height * (_RGB_BYTES + _DECODER_BYTES["WEBP"]) + len(content) > memory_bytes:
        raise MemoryError
