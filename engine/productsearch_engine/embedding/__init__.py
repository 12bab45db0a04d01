"""Turns a picture into a vector; the one interface between retrieval and storage.

Knows pixels and vectors. Does not know files, HTTP or SQL. A library remembers the
``name`` of the embedding that it was built with, so a name stands for one exact
mapping: whoever changes the numbers an embedding produces gives it a new name.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""RGB picture, shape (height, width, 3), dtype uint8."""

Vector = NDArray[np.float32]
"""L2-normalised embedding, shape (dimensions,), dtype float32."""


class Embedding(Protocol):
    """A deterministic mapping from a picture to a point on the unit sphere."""

    @property
    def name(self) -> str:
        """Name and version, such as ``classic-1``: equal names give equal vectors."""

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""

    def embed(self, pixels: Pixels) -> Vector:
        """Return the vector of one picture of any size; thread-safe."""


class UnknownEmbeddingError(Exception):
    """No embedding has this name."""


def load(name: str) -> Embedding:
    """Return the embedding that settings call ``name``. Raises UnknownEmbeddingError."""
    if name == "classic":
        # Imported when asked for: the next embedding brings another library with it.
        from productsearch_engine.embedding.classic import Classic

        return Classic()
    raise UnknownEmbeddingError(f"embedding: none is called {name!r}; there is: classic")
