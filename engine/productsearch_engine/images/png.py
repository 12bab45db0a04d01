"""Reads the structure of a PNG file (ISO/IEC 15948).

Knows chunks. Does not know deflate.
"""

from __future__ import annotations

import struct

from productsearch_engine.images.errors import ImageUnreadableError
from productsearch_engine.images.structure import Structure
from productsearch_engine.limits import EXIF_BYTES_MAX, LARGE_PX, MARKS_MAX

_SIGNATURE_BYTES = 8
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Of an animated file only the still image: its frames are in chunks of their own.
_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def read(content: bytes) -> Structure:
    """Return the structure of a file. Raises ImageUnreadableError."""
    needed = [slice(0, _SIGNATURE_BYTES)]
    at = _SIGNATURE_BYTES
    for _ in range(MARKS_MAX):
        if at + 8 > len(content):
            break
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 12 + length
        if kind in _NEEDED or (kind == b"eXIf" and length <= EXIF_BYTES_MAX):
            needed.append(slice(at, min(end, len(content))))
        at = end
        if kind == b"IEND":
            break
    else:
        raise ImageUnreadableError
    # Another first chunk is no PNG: apps for iPhones have files of their own kind (CgBI).
    if content[_SIGNATURE_BYTES + 4 : _SIGNATURE_BYTES + 8] != b"IHDR":
        raise ImageUnreadableError
    try:
        width, height, depth, colour = struct.unpack_from(">IIBB", content, _SIGNATURE_BYTES + 8)
    except struct.error:
        raise ImageUnreadableError from None
    bits = depth * _CHANNELS.get(colour, 4)
    large = width * height > LARGE_PX or width * height * bits // 32 > LARGE_PX
    return Structure(kind="PNG", width=width, height=height, large=large, needed=needed)
