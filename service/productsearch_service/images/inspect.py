"""Checks an image against the upstream's limits by its header.

Headers are read here, byte by byte and nothing else: Pillow also parses EXIF, colour profiles and
palettes on its way, for up to 180 ms of the event loop for a file of 3 MB. An image that lies about
itself further down is found out by the upstream, or by ``fit``.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from productsearch_service import limits
from productsearch_service.images import foreign

if TYPE_CHECKING:
    from collections.abc import Callable

_FORMATS: Final = "send a JPEG, PNG or BMP file"
_WANTED: Final = f"no readable image; {_FORMATS}"

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PNG_START: Final = _PNG_SIGNATURE + b"\x00\x00\x00\x0dIHDR"
_PNG_CHUNKS_MAX: Final = 1024
"""Before the image: texts, colour profile and the like are a few dozen at most."""

_JPEG_START: Final = b"\xff\xd8\xff"
_JPEG_SEGMENTS_MAX: Final = 128
"""EXIF, colour profiles and XMP in pieces of 64 KB are a few dozen at most."""
_JPEG_SCAN: Final = b"\xff\xda"
_JPEG_FRAMES: Final = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
"""Second bytes of the markers whose segments state the sides."""
_JPEG_FILL: Final = {b"\xff\xff": 1, b"\xff\x00": 2}
"""What decoders skip between segments, and by how many bytes."""
_JPEG_COMPONENTS: Final = (1, 3, 4)

_BMP_START: Final = b"BM"
_BMP_OLD_HEADER: Final = 12
_BMP_HEADERS: Final = (40, 52, 56, 64, 108, 124)
_BMP_DEPTHS: Final = (1, 4, 8, 16, 24, 32)
_BMP_COMPRESSION_MAX: Final = 3
_BMP_UPSIDE_DOWN: Final = 0xFF000000
"""From here on a height is negative: its rows are stored from the top."""


class Unreadable(ValueError):
    """The bytes are no image of a format that is read here."""

    fit_does = ""
    """What ``fit`` would do with such an image; nothing: it cannot help."""


class Damaged(Unreadable):
    """The bytes begin as a JPEG or PNG does and have no whole header."""


class OtherFormat(Unreadable):
    """The bytes begin as an image of a format that ``fit`` reads and the upstream does not."""

    fit_does = "converts"


class TooManyParts(Unreadable):
    """The image comes behind more chunks or segments than anybody should read through."""


class SizeInvalid(ValueError):
    """The image's sides, bytes or cost are outside the limits; the text says how."""

    fit_does = "scales"


@dataclass(frozen=True, slots=True)
class Header:
    """Format (JPEG, PNG or BMP) and sides in pixels, as the file's header states them."""

    format: str
    width: int
    height: int


def inspect(content: bytes) -> Header:
    """Return the header of a JPEG, PNG or BMP; raise Unreadable for anything else."""
    if content.startswith(_PNG_SIGNATURE):
        return _undamaged("PNG", _png_header, content)
    if content.startswith(_JPEG_START):
        return _undamaged("JPEG", _jpeg_header, content)
    if content.startswith(_BMP_START):
        try:
            return _bmp_header(content)
        except struct.error:  # two letters do not make it a BMP
            pass
    found = foreign.named(content)
    if found is None:
        raise Unreadable(_WANTED)
    raise (OtherFormat if found.fits else Unreadable)(f"{found.name}; {_FORMATS}")


def _undamaged(name: str, read: Callable[[bytes], Header | None], content: bytes) -> Header:
    """Return the header that ``read`` finds; raise Damaged if there is none, or not all of it."""
    try:
        header = read(content)
    except struct.error:  # the file ends within its header
        header = None
    if header is None:
        raise Damaged(f"the {name} is damaged or cut short; send the whole file")
    return header


def _png_header(content: bytes) -> Header | None:
    """Return the header of a PNG from its first chunk; None if its checksum is wrong."""
    if not content.startswith(_PNG_START):
        return None
    width, height = struct.unpack_from(">II", content, 16)
    (checksum,) = struct.unpack_from(">I", content, 29)
    if zlib.crc32(content[12:29]) != checksum:
        return None
    at = 33
    for _ in range(_PNG_CHUNKS_MAX):
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"IDAT":
            return Header("PNG", width, height)
        at += length + 12
    raise TooManyParts(f"more than {_PNG_CHUNKS_MAX} chunks before the image; save it anew")


def _jpeg_header(content: bytes) -> Header | None:
    """Return the header of a JPEG from the segments before its first scan; None without one."""
    header = None
    at = 2
    for _ in range(_JPEG_SEGMENTS_MAX):
        marker = content[at : at + 2]
        if not marker.startswith(b"\xff"):
            return None
        if marker == _JPEG_SCAN:
            return header
        if marker in _JPEG_FILL:
            at += _JPEG_FILL[marker]
            continue
        if marker[-1] in _JPEG_FRAMES:
            header = _jpeg_frame(content, at)
        (length,) = struct.unpack_from(">H", content, at + 2)
        at += 2 + length
    raise TooManyParts(f"more than {_JPEG_SEGMENTS_MAX} segments before the image; save it anew")


def _jpeg_frame(content: bytes, at: int) -> Header:
    depth, height, width, components = struct.unpack_from(">BHHB", content, at + 4)
    if depth != 8 or components not in _JPEG_COMPONENTS:
        raise Unreadable(_WANTED)
    return Header("JPEG", width, height)


def _bmp_header(content: bytes) -> Header:
    (size,) = struct.unpack_from("<I", content, 14)
    compression = 0
    if size == _BMP_OLD_HEADER:
        width, height, _, depth = struct.unpack_from("<HHHH", content, 18)
    elif size in _BMP_HEADERS:
        width, height, _, depth, compression = struct.unpack_from("<IIHHI", content, 18)
        if height >= _BMP_UPSIDE_DOWN:
            height = 2**32 - height
    else:
        raise Unreadable(_WANTED)
    if depth not in _BMP_DEPTHS or compression > _BMP_COMPRESSION_MAX:
        raise Unreadable(_WANTED)
    return Header("BMP", width, height)


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


def check_fit_length(content_bytes: int) -> None:
    """Raise SizeInvalid unless ``fit`` takes a file of this length."""
    if content_bytes > limits.FIT_BYTES_MAX:
        raise SizeInvalid(
            f"{content_bytes} bytes; fit takes up to {limits.FIT_BYTES_MAX}, send a smaller file"
        )
