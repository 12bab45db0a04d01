"""Finds an embedding by its name, once in each process."""

from __future__ import annotations

from functools import cache

from productsearch_engine.embedding.interface import Embedding

DEFAULT = "classic-1"
"""The embedding of a new library."""

_ALIASES = {"classic": "classic-1"}
"""Names without a version stand for the newest one."""


class UnknownEmbeddingError(Exception):
    """No embedding has this name."""


def load(name: str) -> Embedding:
    """Return the embedding with this name; the second call returns the same object.

    name: as a library stores it (``classic-1``), or without its version, as a person writes it
    (``classic``). Raises UnknownEmbeddingError.
    """
    return _load(_ALIASES.get(name, name))


@cache
def _load(name: str) -> Embedding:
    # Imported here: each embedding needs other libraries.
    if name == "classic-1":
        from productsearch_engine.embedding.classic import Classic

        return Classic()
    raise UnknownEmbeddingError(f"embedding: none is called {name!r}; there is: classic")
