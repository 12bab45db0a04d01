"""Measures how well vectors rank images of the same product first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def leave_one_out(vectors: NDArray[np.float32], products: NDArray[np.int_]) -> tuple[float, float]:
    """Return (share of first hits of the same product, mean average precision).

    Each image searches among all the others.
    """
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    first, precision = [], []
    for query, row in enumerate(scores):
        order = np.argsort(-row, kind="stable")[:-1]
        same = products[order] == products[query]
        places = np.flatnonzero(same) + 1
        first.append(same[0])
        precision.append(np.mean(np.arange(1, len(places) + 1) / places))
    return float(np.mean(first)), float(np.mean(precision))
