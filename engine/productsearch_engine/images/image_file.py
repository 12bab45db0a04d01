"""An image file whose structure has been checked: format and sides, before any pixel exists.

Knows magic numbers and what the contract accepts. Does not know where the bytes came from,
nor how pixels are decoded (``images.decode``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from productsearch_engine.embedding.interface import Pixels
from productsearch_engine.images import bmp, jpeg, png
from productsearch_engine.images.errors import (
    ImageEmptyError,
    ImageSizeError,
    ImageUnreadableError,
)
from productsearch_engine.images.structure import Structure
from productsearch_engine.limits import (
    EMBEDDED_SIDE_PX_MIN,
    KEPT_SIDE_PX,
    SIDE_PX_MAX,
    SIDE_PX_MIN,
)

_READERS: Mapping[bytes, Callable[[bytes], Structure]] = {
    b"\xff\xd8\xff": jpeg.read,
    b"\x89PNG\r\n\x1a\n": png.read,
    b"BM": bmp.read,
}


def begins_as_image(content: bytes) -> bool:
    """Return whether a file begins as one of the formats that the contract accepts."""
    return content.startswith(tuple(_READERS))


@dataclass(frozen=True)
class ImageFile:
    """An image file that the contract accepts by its structure. Nothing is decoded yet."""

    content: bytes = field(repr=False)
    structure: Structure
    _decoded: dict[int, tuple[Pixels, bool]] = field(
        default_factory=dict, repr=False, compare=False
    )
    """What ``images.decode`` made last, by how much it was scaled down."""

    @classmethod
    def checked(cls, content: bytes) -> ImageFile:
        """Check the structure of an image file and return it.

        Raises ImageEmptyError, ImageUnreadableError, ImageSizeError.
        """
        if not content:
            raise ImageEmptyError
        for magic, read in _READERS.items():
            if content.startswith(magic):
                structure = read(content)
                break
        else:
            raise ImageUnreadableError
        sides = structure.width, structure.height
        if not all(sides):
            raise ImageUnreadableError
        if min(sides) < SIDE_PX_MIN or max(sides) > SIDE_PX_MAX:
            raise ImageSizeError(sides)
        return cls(content, structure)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the content: equal bytes are the same image."""
        return hashlib.sha256(self.content).digest()

    @property
    def needed(self) -> bytes:
        """The file without what its pixels and its orientation do not depend on."""
        if sum(part.stop - part.start for part in self.structure.needed) == len(self.content):
            return self.content  # all of it, in its order: a copy would take as much memory again
        return b"".join(self.content[part] for part in self.structure.needed)

    def pixels(self) -> Pixels:
        """Decode the image as ``images.decode`` describes.

        Raises ImageUnreadableError if the file is truncated or damaged, MemoryError.
        """
        return self._upright(EMBEDDED_SIDE_PX_MIN)[0]

    def is_turned(self) -> bool:
        """Return whether width and height are exchanged by the EXIF orientation.

        Decodes the image unless it was decoded before. Raises what ``pixels`` raises.
        """
        return self._upright(EMBEDDED_SIDE_PX_MIN)[1]

    def small_copy(self) -> bytes:
        """Return the WebP that a library keeps of the image (``images.small_copy``).

        Raises ImageUnreadableError if the file is truncated or damaged, MemoryError.
        """
        from productsearch_engine.images.small_copy import kept_image

        # Decoded anew if need be: embeddings are given fewer pixels, and always the same ones.
        sides = self.structure.width, self.structure.height
        return kept_image(self._upright(max(KEPT_SIDE_PX * min(sides) // max(sides), 1))[0])

    def _upright(self, side_px_min: int) -> tuple[Pixels, bool]:
        # Imported here: the engine's own process decodes nothing.
        from productsearch_engine.images import decode

        factor = decode.factor(self.structure, side_px_min)
        if factor not in self._decoded:
            self._decoded.clear()
            self._decoded[factor] = decode.decoded(self.needed, self.structure, side_px_min)
        return self._decoded[factor]
