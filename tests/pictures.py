"""Pictures drawn for tests: small, distinct and the same on each run."""

from __future__ import annotations

import io
import random
from functools import lru_cache
from typing import Any

from PIL import Image


def draw(seed: int = 0, width: int = 320, height: int = 320, mode: str = "RGB") -> Image.Image:
    """Return a picture of coloured blocks; another seed gives another picture."""
    chance = random.Random(seed)
    blocks = Image.new("RGB", (4, 4))
    blocks.putdata([tuple(chance.randrange(256) for _ in range(3)) for _ in range(16)])
    return blocks.resize((width, height), Image.Resampling.NEAREST).convert(mode)


def encode(picture: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """Return the picture as a file of that kind."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(seed: int = 0, width: int = 320, height: int = 320) -> bytes:
    """Return a JPEG within the upstream's limits."""
    return encode(draw(seed, width, height), quality=80)


def noise_jpeg(at_least: int, seed: int = 0) -> bytes:
    """Return a JPEG of about ``at_least`` bytes: the right header, then bytes nobody decodes."""
    return jpeg(seed) + random.Random(seed).randbytes(at_least)


@lru_cache(maxsize=1)
def _blank_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (300, 300)).save(buffer, "JPEG", quality=1)
    return buffer.getvalue()


def numbered_jpeg(number: int) -> bytes:
    """Return a small valid JPEG; another number, which is in a comment, makes another file."""
    blank = _blank_jpeg()
    return blank[:2] + b"\xff\xfe\x00\x0a" + number.to_bytes(8, "big") + blank[2:]
