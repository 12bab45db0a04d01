"""What the engine learns from the bytes of an image: the one function that decodes them.

It runs in a worker process. Whatever is to be made of an image's pixels is made here and is a
field of ``Described``. Knows images and the embedding. Does not know processes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from productsearch_engine.embedding.interface import Embedding, Vector
from productsearch_engine.images.image_file import ImageFile


@dataclass(frozen=True, kw_only=True)
class Described:
    """What is known of an image once it has been decoded."""

    kind: str
    """JPEG, PNG or BMP."""
    width: int
    height: int
    """Sides in pixels as the file stores them, before its EXIF orientation."""
    embedding: bytes = field(repr=False)
    """The vector: float32, little endian."""

    @property
    def vector(self) -> Vector:
        """Return the embedding as an array."""
        return np.frombuffer(self.embedding, dtype="<f4")

    def parts(self) -> list[bytes]:
        """Return the byte strings that ``of_parts`` takes."""
        facts = {"kind": self.kind, "width": self.width, "height": self.height}
        return [json.dumps(facts).encode(), self.embedding]

    @classmethod
    def of_parts(cls, parts: Sequence[bytes]) -> Self:
        """Return what ``parts`` were made of. Raises ValueError, TypeError."""
        facts, embedding = parts
        return cls(**json.loads(facts), embedding=embedding)


def describe(content: bytes, embedding: Embedding) -> Described:
    """Check, decode and embed the file of an image.

    Raises ImageEmptyError, ImageUnreadableError, ImageSizeError; MemoryError beyond the
    process's limit.
    """
    image = ImageFile.checked(content)
    vector = embedding.embed(image.pixels())
    return Described(
        kind=image.structure.kind,
        width=image.structure.width,
        height=image.structure.height,
        embedding=vector.astype("<f4").tobytes(),
    )
