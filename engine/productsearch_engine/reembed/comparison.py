"""Shows, before a switch, what becomes of scores and of pinned searches.

Knows scores of two embeddings. Does not know how vectors are stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_SCORES = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class MinScore:
    """A ``min_score`` and the one that lets as many pairs of images pass after the switch."""

    before: float
    after: float
    share: float
    """Share of pairs of different images that pass, 0 to 1."""


def min_scores(before: NDArray[np.float64], after: NDArray[np.float64]) -> list[MinScore]:
    """Translate bounds of one embedding's scores to the other's.

    before, after: scores of the same pairs of images, shape (pairs,).
    """
    found = []
    for bound in MIN_SCORES:
        share = float((before >= bound).mean())
        found.append(MinScore(bound, float(np.quantile(after, 1 - share)), share))
    return found


def pairs(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosines of each two different vectors, shape (pairs,)."""
    cosine = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    return np.asarray(cosine[np.triu_indices(len(vectors), 1)], np.float64)


def lines(found: Sequence[MinScore]) -> Iterator[str]:
    """Say it."""
    yield "min_score before -> after, for as many pairs of different images above it"
    for each in found:
        yield f"  {each.before:.2f} -> {each.after:.2f}   ({100 * each.share:.2f} % of pairs)"
