"""The image that the doctor searches with: 300 by 300 pixels of grey rings, made here."""

from __future__ import annotations

import struct
import zlib
from typing import Final

_SIDE_PX: Final = 300


def _chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def _rows() -> bytes:
    middle = _SIDE_PX // 2
    return b"".join(
        b"\0" + bytes(((x - middle) ** 2 + (y - middle) ** 2) // 90 % 256 for x in range(_SIDE_PX))
        for y in range(_SIDE_PX)
    )


PNG: Final = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", _SIDE_PX, _SIDE_PX, 8, 0, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(_rows()))
    + _chunk(b"IEND", b"")
)
