"""The sign of an image: a 64-bit number made from its content.

The contract's ``cont_sign`` is the sign written as ``uint32,uint32``; the database stores the
number. The first ten bits of a sign are its image's bucket, by which a cluster distributes rows:
whoever knows the sign or the digest knows the bucket. Knows digests, numbers and their text. Does
not know which signs are taken: ``store.images`` asks for the next derivation when another image has
the sign.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable
from typing import LiteralString

Derivation = Callable[[bytes, int], int]
"""Takes the SHA-256 of an image and the attempt, from 0; returns the sign, signed."""

_SHAPE = re.compile(rb"[ \t]*([0-9]{1,10})[ \t]*,[ \t]*([0-9]{1,10})[ \t]*")
_UINT32_MAX = 0xFFFFFFFF
_BUCKET_MAX = 1023
_BUCKET_SHIFT = 54
_BELOW_BUCKET = (1 << _BUCKET_SHIFT) - 1

BUCKET: LiteralString = "((sign >> 54) & 1023)::int"
"""The bucket of a column ``sign`` in SQL."""


def derive(digest: bytes, attempt: int) -> int:
    """Return the sign of ``digest``; each further attempt gives another one of the same bucket."""
    bits: int = struct.unpack_from(">Q", digest)[0]
    if attempt:
        again = hashlib.sha256(digest + attempt.to_bytes(2, "big")).digest()
        bits ^= struct.unpack_from(">Q", again)[0] & _BELOW_BUCKET
    sign: int = struct.unpack(">q", struct.pack(">Q", bits))[0]
    return sign


def bucket(sign: int) -> int:
    """Return the bucket of a sign, 0 to 1023: its first ten bits."""
    return (sign >> _BUCKET_SHIFT) & _BUCKET_MAX


def bucket_of(digest: bytes) -> int:
    """Return the bucket of an image, 0 to 1023: the first ten bits of its digest, and so of each
    sign that is derived from it."""
    return bucket(derive(digest, 0))


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
