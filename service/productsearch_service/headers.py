"""Reads format and sides of a well-formed JPEG, PNG or BMP from its first bytes.

A picture library takes twenty times as long for the same two numbers. Whatever is not plainly
well-formed is left to it: ``read`` then says None. Knows nothing of what is allowed.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

_PNG: Final = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_PNG_FIELDS: Final = struct.Struct(">II5B")
_PNG_END: Final = 33
"""Signature, and the first chunk with its checksum."""
_PNG_KINDS: Final = {
    (depth, colour)
    for colour, depths in {
        0: (1, 2, 4, 8, 16),
        2: (8, 16),
        3: (1, 2, 4, 8),
        4: (8, 16),
        6: (8, 16),
    }.items()
    for depth in depths
}
_BMP_SIDES: Final = struct.Struct("<ii")
_BMP_HEADERS: Final = frozenset({40, 108, 124})
_BMP_BITS: Final = frozenset({24, 32})
_BMP_END: Final = 54
_JPEG_SIDES: Final = struct.Struct(">HH")
_JPEG_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2})
"""Baseline, extended and progressive frames; the other kinds are rare."""
_JPEG_SCAN: Final = b"\xff\xda"
_JPEG_SKIPPED: Final = frozenset({*range(0xE0, 0xF0), 0xC4, 0xDB, 0xDD, 0xFE})
"""Segments of applications, tables and comments."""
_JPEG_COMPONENTS: Final = frozenset({1, 3, 4})


def read(content: bytes) -> tuple[str, int, int] | None:
    """Return the format (Pillow's name), width and height; None where it is not plain."""
    if content.startswith(_PNG):
        return _png(content)
    if content.startswith(b"\xff\xd8\xff"):
        return _jpeg(content)
    if content.startswith(b"BM"):
        return _bmp(content)
    return None


def _png(content: bytes) -> tuple[str, int, int] | None:
    header = content[12 : _PNG_END - 4]
    sound = len(content) > _PNG_END and zlib.crc32(header) == int.from_bytes(
        content[_PNG_END - 4 : _PNG_END]
    )
    if not sound or content.find(b"IDAT", _PNG_END) < 0:
        return None
    width, height, depth, colour, compression, filtering, interlace = _PNG_FIELDS.unpack_from(
        content, 16
    )
    plain = (depth, colour) in _PNG_KINDS and not compression and not filtering and interlace <= 1
    return ("PNG", width, height) if plain else None


def _bmp(content: bytes) -> tuple[str, int, int] | None:
    if len(content) <= _BMP_END or int.from_bytes(content[14:18], "little") not in _BMP_HEADERS:
        return None
    planes, bits, compression = struct.unpack_from("<HHI", content, 26)
    if planes != 1 or bits not in _BMP_BITS or compression:
        return None
    width, height = _BMP_SIDES.unpack_from(content, 18)
    # A negative height says that rows go downwards.
    return ("BMP", width, abs(height)) if width > 0 else None


def _jpeg(content: bytes) -> tuple[str, int, int] | None:
    """Go from segment to segment until the frame, which a scan must follow."""
    at, end = 2, len(content) - 10
    while at < end and content[at] == 0xFF:
        marker = content[at + 1]
        length = (content[at + 2] << 8) | content[at + 3]
        if marker in _JPEG_FRAMES:
            height, width = _JPEG_SIDES.unpack_from(content, at + 5)
            components = content[at + 9]
            plain = content[at + 4] == 8 and components in _JPEG_COMPONENTS
            sound = plain and length == 8 + 3 * components and content.find(_JPEG_SCAN, at) > 0
            return ("JPEG", width, height) if sound else None
        if marker not in _JPEG_SKIPPED or length < 2:
            return None
        at += 2 + length
    return None
