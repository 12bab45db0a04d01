"""Valid images of an exact size in bytes: a small PNG and a chunk that readers skip."""

from __future__ import annotations

import random
import struct
import zlib
from typing import Final

SIZES: Final = {"1 KB": 1024, "100 KB": 102_400, "300 KB": 307_200, "2.9 MB": 2_900_000}
_SIDE_PX: Final = 300


def of_size(size_bytes: int, seed: int = 0) -> bytes:
    """Return a PNG of that many bytes; another seed makes another image."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", _SIDE_PX, _SIDE_PX, 1, 0, 0, 0, 0))
    rows = bytes(_SIDE_PX * (1 + (_SIDE_PX + 7) // 8))
    start = b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(rows, 9))
    end = _chunk(b"IEND", b"")
    filling = size_bytes - len(start) - len(end) - len(_chunk(b"", b"")) - len(b"prVt")
    if filling < 0:
        raise ValueError(f"no image is as small as {size_bytes} bytes")
    noise = random.Random(seed).randbytes(filling)
    return start + _chunk(b"prVt", noise) + end


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )
