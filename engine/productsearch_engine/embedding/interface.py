"""What the engine expects of an embedding, and the arrays that go in and come out.

Knows types. Does not know any implementation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""RGB image, upright, shape (height, width, 3), dtype uint8."""

Vector = NDArray[np.float32]
"""L2-normalised embedding, shape (dimensions,), dtype float32."""

Vectors = NDArray[np.float32]
"""L2-normalised embeddings, shape (images, dimensions), dtype float32."""

Cosines = NDArray[np.float64]
Scores = NDArray[np.float64]


class Box(NamedTuple):
    """A rectangle in an upright image; each number is 0 to 1 of the image's width or height."""

    left: float
    top: float
    width: float
    height: float


class Description(NamedTuple):
    """What an embedding says of one image."""

    vector: Vector
    subject: Box | None
    """Where the product is; None if the embedding does not look for it."""
    is_clear: bool = True
    """Whether the subject is one thing that stands out, or was given; else the box is a guess."""


class EmbeddingUnusableError(Exception):
    """An embedding cannot be loaded; the text says which file is wrong with what."""


class NoVectorError(Exception):
    """An embedding finds nothing in an image that a vector could be made of."""

    def __init__(self, place: int):
        """place: of the image among those that were to be described."""
        super().__init__(f"image {place} has no vector")
        self.place = place


class Embedding(ABC):
    """A deterministic mapping from an image to a point on the unit sphere.

    An embedding is loaded once in each process (``load.load``) and is found there by its name,
    so that only the name has to be sent to another process. Its methods are thread-safe.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Name and version, such as ``classic-1``: equal names give equal vectors."""

    @property
    @abstractmethod
    def dimensions(self) -> int:
        """Length of the vectors."""

    @abstractmethod
    def describe(
        self, images: Sequence[Pixels], regions: Sequence[Box | None] | None = None
    ) -> list[Description]:
        """Return vector and subject of each image.

        images: of any size. regions: for each image where its product is, if that is known; the
        subject of such an image is its region. Raises NoVectorError.
        """

    def embed(
        self, images: Sequence[Pixels], regions: Sequence[Box | None] | None = None
    ) -> Vectors:
        """Return the vectors of some images, shape (images, dimensions)."""
        vectors = [each.vector for each in self.describe(images, regions)]
        return np.stack(vectors) if vectors else np.empty((0, self.dimensions), np.float32)

    def subject(self, image: Pixels) -> Box | None:
        """Return where the product is in an image, or None."""
        return self.describe([image])[0].subject

    def calibrate(self, cosines: Cosines) -> Scores:
        """Return the scores, 0 to 1, of pairs of images by the cosines of their vectors.

        Monotonic; the shape stays. Here the cosine itself, cut to 0 to 1: an embedding without
        labelled images cannot say more.
        """
        return np.clip(cosines, 0.0, 1.0)
