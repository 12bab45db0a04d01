"""Puts the glance of an image into its small copy, and takes it out again.

It is a chunk behind the image in the copy's WebP, which decoders skip. Knows RIFF (the WebP
container's specification, "Unknown Chunks"). Does not know pixels.
"""

from __future__ import annotations

import struct

_HEAD = 12  # "RIFF", size, "WEBP"
_CHUNK = 8  # name, size
_NAME = b"PSGL"


def with_glance(webp: bytes, glance: bytes) -> bytes:
    """Return a small copy that has the glance of its image."""
    chunk = _NAME + struct.pack("<I", len(glance)) + glance + b"\0" * (len(glance) % 2)
    return webp[:4] + struct.pack("<I", len(webp) + len(chunk) - 8) + webp[8:] + chunk


def glance_or_copy(copy: bytes) -> bytes:
    """Return the glance in a small copy; the copy itself if there is none in it.

    copy: as it is kept, whoever made it: of an image that was stored by an engine before there were
    glances, or imported, or empty.
    """
    at = _HEAD
    while copy.startswith(b"RIFF") and at + _CHUNK <= len(copy):
        size = int.from_bytes(copy[at + 4 : at + _CHUNK], "little")
        if copy[at : at + 4] == _NAME:
            return copy[at + _CHUNK : at + _CHUNK + size]
        at += _CHUNK + size + size % 2
    return copy
