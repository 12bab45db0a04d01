"""Reads the structure of a BMP file: the sides and the compression in its header."""

from __future__ import annotations

import struct

from productsearch_engine.images.errors import ImageUnreadableError
from productsearch_engine.images.structure import Structure
from productsearch_engine.limits import LARGE_PX

_OS2_HEADER_BYTES = 12
_RUN_LENGTHS = (1, 2)


def read(content: bytes) -> Structure:
    """Return the structure of a file. Raises ImageUnreadableError."""
    compression = 0
    try:
        header_bytes = struct.unpack_from("<I", content, 14)[0]
        if header_bytes == _OS2_HEADER_BYTES:
            width, height = struct.unpack_from("<HH", content, 18)
        else:
            width, height, _, _, compression = struct.unpack_from("<iiHHI", content, 18)
    except struct.error:
        raise ImageUnreadableError from None
    # A negative height means that the rows are stored from the top down.
    width, height = abs(width), abs(height)
    # Pillow decodes run lengths in Python.
    large = width * height > LARGE_PX or compression in _RUN_LENGTHS
    whole = [slice(0, len(content))]
    return Structure(kind="BMP", width=width, height=height, large=large, needed=whole)
