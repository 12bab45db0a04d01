"""What the structure of an image file says, read without decoding anything.

``jpeg``, ``png`` and ``bmp`` each read one format into a ``Structure``. They walk over the
marks in the file, at most ``MARKS_MAX`` of them, so their time is bounded by the file's bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Structure:
    """The facts of a file that decide whether and where its pixels are decoded."""

    kind: str
    """JPEG, PNG or BMP."""
    width: int
    height: int
    """Sides in pixels as stored, before the EXIF orientation."""
    large: bool
    """Whether decoding takes more time or memory than ordinary images do."""
    needed: Sequence[slice] = field(repr=False)
    """The parts of the file that pixels and orientation depend on, in their order. The rest is
    never given to a decoder: text, profiles, previews, further images, what follows the end."""
    ended: bool = True
    """False if the file has no end mark. Only JPEG."""
