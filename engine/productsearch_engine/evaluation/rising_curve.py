"""Fits the rising function from the cosine of a first hit to the chance that it is right.

It is the mean of two: a curve of few numbers, which few labels bear, and a smoothed count, which
follows whatever many labels show. Knows numbers. Does not know searches or products.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from productsearch_engine.evaluation.metrics import Floats

_KNOTS = 64
_CLOSE = 1e-3
"""Cosines nearer to 1 than this are alike."""

_SPREAD = 0.08
"""Standard deviation of what a hit says of others, as a share of all hits by their rank."""

_PENALTY = np.array([0.0, 0.1, 1.0, 1.0])
"""On the powers of the curve, in hits: keeps it finite where one cosine parts right from wrong."""

_STEPS = 50


def fitted(cosine: Floats, right: NDArray[np.bool_], weight: Floats) -> tuple[Floats, Floats]:
    """Return the knots (cosines, scores) for ``numpy.interp``: rising, at most 64, never 0 or 1.

    weight: how much each hit counts, 1 on average; there are right and wrong hits.
    """
    order = np.argsort(cosine, kind="stable")
    cosine, answer, weight = cosine[order], right[order].astype(float), weight[order]
    rank = (np.cumsum(weight) - weight / 2) / weight.sum()
    places = (np.arange(_KNOTS) + 0.5) / _KNOTS
    knots = np.interp(places, rank, cosine)
    count = _rising(_smoothed(places, rank, answer, weight))
    curve = np.maximum.accumulate(_logistic(knots, cosine, answer, weight))
    kept, last = np.unique(knots[::-1], return_index=True)
    return kept, ((count + curve) / 2)[::-1][last]


def _smoothed(places: Floats, rank: Floats, answer: Floats, weight: Floats) -> Floats:
    """Return the share of right hits around each place; one hit of the mean counts with them."""
    near = np.exp(-0.5 * ((places[:, None] - rank) / _SPREAD) ** 2) * weight
    mean = float((answer * weight).sum() / weight.sum())
    return np.asarray((near @ answer + mean) / (near.sum(1) + 1))


def _rising(shares: Floats) -> Floats:
    """Return the nearest shares that rise: pool adjacent violators (Ayer et al., 1955)."""
    blocks: list[list[float]] = []  # sum, count
    for share in shares.tolist():
        blocks.append([share, 1.0])
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
            total, count = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + count]
    return np.concatenate([np.full(int(count), total / count) for total, count in blocks])


def _logistic(knots: Floats, cosine: Floats, answer: Floats, weight: Floats) -> Floats:
    """Return a logistic curve at the knots, cubic in how near the cosine is to 1 (Newton)."""
    near = -np.log(np.maximum(1 - cosine, _CLOSE))
    middle, spread = float(near.mean()), max(float(near.std()), 1e-9)

    def powers(cosines: Floats) -> Floats:
        standard = (-np.log(np.maximum(1 - cosines, _CLOSE)) - middle) / spread
        return np.stack([standard**power for power in range(len(_PENALTY))], axis=1)

    there, factors = powers(cosine), np.zeros(len(_PENALTY))
    for _ in range(_STEPS):
        score = _chance(there @ factors)
        slope = there.T @ (weight * (answer - score)) - _PENALTY * factors
        bend = (there * (weight * score * (1 - score))[:, None]).T @ there
        step = np.linalg.solve(bend + np.diag(_PENALTY + 1e-6), slope)
        factors += step / max(1.0, float(np.abs(step).max()))  # far from the end it would overshoot
    return _chance(powers(knots) @ factors)


def _chance(logit: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(logit, -30, 30))))
