"""Turns the cosine of two images into the chance that they show the same product.

Knows knots and interpolation. Does not know images. The knots of ``compact-1`` are careful round
numbers, set by hand: docs/embeddings.md says how far they are from labelled images.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import numpy as np

from productsearch_engine.embedding.interface import Cosines, Scores

SAME, SIMILAR = 0.9, 0.5
"""The scores from which two images are called *same* and *similar*; below is *none*. The console,
the evaluation and docs/embeddings.md have the words from here."""


class Calibration:
    """A rising function through some knots, flat outside of them."""

    def __init__(self, cosines: Sequence[float], scores: Sequence[float]):
        self._cosines, self._scores = np.array(cosines), np.array(scores)

    @classmethod
    def of(cls, name: str) -> Calibration:
        """Return the calibration that comes with the engine for an embedding of its own."""
        knots = json.loads((files(__package__) / f"{name}-calibration.json").read_text("utf-8"))
        return cls(knots["cosines"], knots["scores"])

    def scores(self, cosines: Cosines) -> Scores:
        """Return the scores of some cosines, 0 to 1, in the same shape."""
        return np.asarray(np.interp(cosines, self._cosines, self._scores))


def calibrated(name: str, cosines: Cosines) -> Scores:
    """Return what ``Embedding.calibrate`` of the embedding with this name returns.

    No model is loaded: an engine's own process scores with embeddings that only its workers have.
    """
    known = _known(name)
    return np.clip(cosines, 0.0, 1.0) if known is None else known.scores(cosines)


def has_chances(name: str) -> bool:
    """Return whether the scores of the embedding with this name are chances, and not cosines."""
    return _known(name) is not None


@cache
def _known(name: str) -> Calibration | None:
    plain = name.replace("-", "").isalnum()  # the name of an own embedding, not of a file
    there = plain and (files(__package__) / f"{name}-calibration.json").is_file()
    return Calibration.of(name) if there else None
