"""PNG files of each depth with one transparent colour, made by hand, and how they look on white."""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np

GREYS: Final = (1, 2, 4, 8, 16)
COLOURS: Final = (8, 16)
_GREY, _RGB = 0, 2


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def keyed(depth: int, *, colour: bool, side: int) -> tuple[bytes, np.ndarray]:
    """Return a file and its pixels: its left half has the transparent colour, its right another.

    ``side``: a multiple of 16, in pixels. The pixels have the shape (side, side, 3), uint8.
    """
    most = (1 << depth) - 1
    key = [most // 3 + channel for channel in range(3 if colour else 1)] if depth > 1 else [0]
    other = [most - sample // 2 for sample in key]
    row = key * (side // 2) + other * (side // 2)
    bits = "".join(format(sample, f"0{depth}b") for sample in row)
    line = b"\0" + int(bits, 2).to_bytes(len(bits) // 8)
    head = struct.pack(">IIBBBBB", side, side, depth, _RGB if colour else _GREY, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", head),
            _chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)),
            _chunk(b"IDAT", zlib.compress(line * side)),
            _chunk(b"IEND", b""),
        )
    )
    pixels = np.full((side, side, 3), 255, np.uint8)
    pixels[:, side // 2 :] = [round(255 * sample / most) for sample in other]
    return file, pixels
