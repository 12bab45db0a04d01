"""Says whether one embedding is better than another, or only luckier: the paired bootstrap.

Knows figures of queries. Does not know where they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from productsearch_engine.evaluation.metrics import Floats

_RESAMPLES = 4000
_DRAWN = 4_000_000
"""Products that are drawn at once: more would fill the memory."""


@dataclass(frozen=True)
class Difference:
    """How much better the first is, with the 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def difference(one: Floats, other: Floats, products: Sequence[str]) -> Difference:
    """Compare two embeddings' figures of the same queries; each has the shape (queries,).

    Whole products are drawn, not queries: images of one product succeed and fail together, so
    single queries would make the interval too narrow. Equal input gives an equal answer.
    """
    _, product = np.unique(np.asarray(products), return_inverse=True)
    total = np.bincount(product, one - other)
    count = np.bincount(product)
    chance = np.random.default_rng(0)
    means = np.empty(_RESAMPLES)
    step = max(1, _DRAWN // len(count))
    for start in range(0, _RESAMPLES, step):
        draws = chance.integers(len(count), size=(min(step, _RESAMPLES - start), len(count)))
        means[start : start + step] = total[draws].sum(1) / count[draws].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Difference(float((one - other).mean()), float(low), float(high))
