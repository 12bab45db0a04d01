"""Finds an embedding by the name that settings give it."""

from __future__ import annotations

from productsearch_engine.embedding.interface import Embedding


class UnknownEmbeddingError(Exception):
    """No embedding has this name."""


def load(name: str) -> Embedding:
    """Return the embedding that settings call ``name``. Raises UnknownEmbeddingError."""
    if name == "classic":
        # Imported here: each embedding needs other libraries.
        from productsearch_engine.embedding.classic import Classic

        return Classic()
    raise UnknownEmbeddingError(f"embedding: none is called {name!r}; there is: classic")
