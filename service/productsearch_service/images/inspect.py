"""Checks an image against the upstream's limits by its header.

An image that lies about itself further down is found out by the upstream.
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from typing import Final

from PIL import Image

from productsearch_service import limits

Image.MAX_IMAGE_PIXELS = None  # the limits are checked here, before anything is decoded

SENT_AS_IS: Final = ("JPEG", "PNG", "BMP")
"""Formats that the upstream takes, by their Pillow names."""
_WANTED: Final = "no readable image; send a JPEG, PNG or BMP file"
_PNG_START: Final = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
_JPEG_SEGMENTS_MAX: Final = 128
"""EXIF, colour profiles and XMP in pieces of 64 KB are a few dozen at most."""
_JPEG_SCAN: Final = b"\xff\xda"
_JPEG_FILL: Final = {b"\xff\xff": 1, b"\xff\x00": 2}
"""What Pillow skips between segments, and by how many bytes."""
_SIGNATURES: Final = {b"\xff\xd8\xff": "JPEG", b"BM": "BMP"}


class Unreadable(ValueError):
    """The bytes are no image of a format that is read here."""


class SizeInvalid(ValueError):
    """The image's sides or bytes are outside the limits; the text says how."""


@dataclass(frozen=True, slots=True)
class Header:
    """Format (a Pillow name) and sides in pixels, as the file's header states them."""

    format: str
    width: int
    height: int


def inspect(content: bytes) -> Header:
    """Return the header of a JPEG, PNG or BMP; raise Unreadable for anything else."""
    if content.startswith(_PNG_START):
        return _png_header(content)
    # Pillow tries the formats one after the other: it is told the one that it can be.
    formats = tuple(name for sign, name in _SIGNATURES.items() if content.startswith(sign))
    if not formats:
        raise Unreadable(_WANTED)
    if formats == ("JPEG",):
        _check_segments(content)
    with open_image(content, formats) as image:
        return Header(image.format or "", *image.size)


def _check_segments(content: bytes) -> None:
    """Raise Unreadable for a JPEG with more segments before its scan than any camera writes.

    Pillow reads them one by one in Python, on the event loop, and joins those of EXIF each time
    anew: thousands of tiny ones would hold up all callers for seconds.
    """
    at = 2
    for _ in range(_JPEG_SEGMENTS_MAX):
        marker = content[at : at + 2]
        if not marker.startswith(b"\xff") or marker == _JPEG_SCAN:
            return  # what is no segment, Pillow refuses by itself
        at += _JPEG_FILL.get(marker) or 2 + int.from_bytes(content[at + 2 : at + 4])
    raise Unreadable(f"more than {_JPEG_SEGMENTS_MAX} segments before the image; save it anew")


def _png_header(content: bytes) -> Header:
    """Return the header of a PNG from its first chunk, whose checksum must be right.

    Pillow would inflate text chunks on its way to the pixels: a few kilobytes become 64 MB.
    """
    checksum = int.from_bytes(content[29:33])
    if zlib.crc32(content[12:29]) != checksum or b"IDAT" not in content:
        raise Unreadable(_WANTED)
    return Header("PNG", int.from_bytes(content[16:20]), int.from_bytes(content[20:24]))


def check_sides(content: bytes) -> None:
    """Raise Unreadable or SizeInvalid unless the upstream takes an image of these sides."""
    header = inspect(content)
    shortest, longest = sorted((header.width, header.height))
    if shortest < limits.IMAGE_SIDE_MIN_PX or longest > limits.IMAGE_SIDE_MAX_PX:
        raise SizeInvalid(
            f"{header.width} x {header.height} pixels; the shortest side must be at least "
            f"{limits.IMAGE_SIDE_MIN_PX}, the longest at most {limits.IMAGE_SIDE_MAX_PX}"
        )


def check_length(encoded_bytes: int) -> None:
    """Raise SizeInvalid unless the upstream takes a form value of this length, in bytes."""
    if encoded_bytes > limits.IMAGE_ENCODED_BYTES_MAX:
        raise SizeInvalid(
            f"{encoded_bytes} bytes after base64 and urlencoding; "
            f"at most {limits.IMAGE_ENCODED_BYTES_MAX} are allowed (about 2.9 MB as a file)"
        )


def open_image(content: bytes, formats: tuple[str, ...], wanted: str = _WANTED) -> Image.Image:
    """Return a Pillow image of one of ``formats``, its header read; raise Unreadable(wanted)."""
    try:
        return Image.open(io.BytesIO(content), formats=formats)
    except Exception:  # noqa: BLE001 - Pillow's header parsers raise many kinds on bad bytes
        raise Unreadable(wanted) from None
