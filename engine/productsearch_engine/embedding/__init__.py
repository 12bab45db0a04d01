"""Turns the pixels of an image into a vector, behind one interface (``Embedding``).

A library remembers the ``name`` of the embedding that it was built with. A name therefore
stands for one exact mapping: an embedding whose numbers change gets a new name.

Knows pixels and vectors. Does not know files, HTTP or SQL.
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


class UnknownEmbeddingError(Exception):
    """No embedding has this name."""


def load(name: str) -> Embedding:
    """Return the embedding that settings call ``name``. Raises UnknownEmbeddingError."""
    if name == "classic":
        # Imported here: each embedding needs other libraries.
        from productsearch_engine.embedding.classic import Classic

        return Classic()
    raise UnknownEmbeddingError(f"embedding: none is called {name!r}; there is: classic")
