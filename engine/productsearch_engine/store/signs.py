"""The sign of an image: a 64-bit number made from its content.

The contract's ``cont_sign`` is the sign written as ``uint32,uint32``; the database stores the
number. Knows digests, numbers and their text. Does not know which signs are taken:
``store.images`` asks for the next derivation when another image has the sign.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable

Derivation = Callable[[bytes, int], int]
"""Takes the SHA-256 of an image and the attempt, from 0; returns the sign, signed."""

_SHAPE = re.compile(rb"[ \t]*([0-9]{1,10})[ \t]*,[ \t]*([0-9]{1,10})[ \t]*")
_UINT32_MAX = 0xFFFFFFFF


def derive(digest: bytes, attempt: int) -> int:
    """Return the sign of ``digest``; each further attempt gives an unrelated one."""
    if attempt:
        digest = hashlib.sha256(digest + attempt.to_bytes(2, "big")).digest()
    sign: int = struct.unpack_from(">q", digest)[0]
    return sign


def to_text(sign: int) -> str:
    """Return the ``cont_sign`` of a sign."""
    high, low = struct.unpack(">II", struct.pack(">q", sign))
    return f"{high},{low}"


def from_text(text: bytes) -> int | None:
    """Return the sign of a ``cont_sign``, blanks trimmed, or None if it has another shape."""
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        return None
    high, low = int(shape[1]), int(shape[2])
    if high > _UINT32_MAX or low > _UINT32_MAX:
        return None
    sign: int = struct.unpack(">q", struct.pack(">II", high, low))[0]
    return sign
