"""What the engine expects of an embedding, and the arrays that go in and come out.

Knows types. Does not know any implementation.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""RGB image, shape (height, width, 3), dtype uint8."""

Vector = NDArray[np.float32]
"""L2-normalised embedding, shape (dimensions,), dtype float32."""


class Embedding(Protocol):
    """A deterministic mapping from an image to a point on the unit sphere."""

    @property
    def name(self) -> str:
        """Name and version, such as ``classic-1``: equal names give equal vectors."""

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""

    def embed(self, pixels: Pixels) -> Vector:
        """Return the vector of an image of any size; thread-safe."""
