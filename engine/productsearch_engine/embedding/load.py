"""Finds an embedding by its name, once in each process."""

from __future__ import annotations

from functools import cache

from productsearch_engine.embedding.interface import Embedding, EmbeddingUnusableError

DEFAULT = "compact-3"
"""The embedding of a new library."""

_ALIASES = {"classic": "classic-1", "compact": "compact-3"}
"""Names without a version stand for the newest one."""

OWN = ("classic-1", "compact-1", "compact-2", "compact-3")
"""All that this engine has without a file of the operator's."""

_ONNX = "onnx:"


class UnknownEmbeddingError(Exception):
    """No embedding has this name, or it cannot be loaded; the text says why."""


def load(name: str) -> Embedding:
    """Return the embedding with this name; the second call returns the same object.

    name: as a library stores it (``compact-3``), or without its version, as a person writes it
    (``compact``); ``onnx:PATH`` for the model that a TOML file describes. Raises
    UnknownEmbeddingError.
    """
    return _load(_ALIASES.get(name, name))


def is_known(name: str) -> bool:
    """Return whether a library's embedding is one of this engine's, or a model that is there.

    Nothing is loaded but what reads a model of the operator's: OpenCV and the runtime of models
    take 39 MB, and an engine's own process leaves images to its workers.
    """
    if not name.startswith(_ONNX):
        return name in OWN
    try:
        check(name)
    except UnknownEmbeddingError:
        return False
    return True


def check(name: str) -> None:
    """Raise UnknownEmbeddingError if there is no such embedding; a model by path is not loaded."""
    if not name.startswith(_ONNX):
        load(name)
        return
    from productsearch_engine.embedding.onnx import identified

    try:
        identified(name)
    except EmbeddingUnusableError as error:
        raise UnknownEmbeddingError(str(error)) from None


@cache
def _load(name: str) -> Embedding:
    try:
        return _made(name)
    except EmbeddingUnusableError as error:
        raise UnknownEmbeddingError(str(error)) from None


def _made(name: str) -> Embedding:
    # Imported here: each embedding needs other libraries.
    if name == "classic-1":
        from productsearch_engine.embedding.classic import Classic

        return Classic()
    if name.startswith("compact-"):
        from productsearch_engine.embedding.compact import MIXES, Compact

        if name in MIXES:
            return Compact(name)
    if name.startswith(_ONNX):
        from productsearch_engine.embedding.onnx import Onnx

        return Onnx(name)
    raise UnknownEmbeddingError(
        f"embedding: none is called {name!r}; there is: compact, classic, onnx:PATH"
    )
