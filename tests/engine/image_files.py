"""Draws images for the engine's tests: deterministic, each seed another image."""

from __future__ import annotations

import io
import struct
import zlib
from functools import lru_cache

import numpy as np
from PIL import Image


def draw(seed: int, size: tuple[int, int] = (400, 320)) -> Image.Image:
    """Return coloured patches, smooth enough to survive JPEG."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """Return the file of an image."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@lru_cache(maxsize=256)
def jpeg(seed: int, size: tuple[int, int] = (400, 320)) -> bytes:
    """Return the JPEG file of ``draw(seed)``."""
    return encoded(draw(seed, size))


def png_claiming(width: int, height: int) -> bytes:
    """Return a PNG whose header claims a size that its few pixels do not have."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(4096))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", head), (b"IDAT", pixels), (b"IEND", b""))
    )
