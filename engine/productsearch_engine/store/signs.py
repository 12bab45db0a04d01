"""The sign of a picture: two uint32 made from its content, written ``uint32,uint32``.

Knows digests, numbers and their text. Does not know what is stored: the store asks for
the next derivation when another picture already has the sign.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable

Derivation = Callable[[bytes, int], int]
"""(SHA-256 of a picture, attempt from 0) -> sign as a signed 64-bit number."""

_SHAPE = re.compile(rb"[ \t]*([0-9]{1,10})[ \t]*,[ \t]*([0-9]{1,10})[ \t]*")
_UINT32_MAX = 0xFFFFFFFF


def derive(digest: bytes, attempt: int) -> int:
    """Return the sign of ``digest``; each further attempt gives an unrelated one."""
    if attempt:
        digest = hashlib.sha256(digest + attempt.to_bytes(2, "big")).digest()
    sign: int = struct.unpack_from(">q", digest)[0]
    return sign


def to_text(sign: int) -> str:
    """Return ``uint32,uint32`` for a sign, as the contract writes it."""
    high, low = struct.unpack(">II", struct.pack(">q", sign))
    return f"{high},{low}"


def from_text(text: bytes) -> int | None:
    """Return the sign that ``text`` writes, blanks trimmed, or None for another shape."""
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        return None
    high, low = int(shape[1]), int(shape[2])
    if high > _UINT32_MAX or low > _UINT32_MAX:
        return None
    sign: int = struct.unpack(">q", struct.pack(">II", high, low))[0]
    return sign
