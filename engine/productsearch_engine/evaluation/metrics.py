"""Figures of a ranking: recall at 1, 5 and 10 and mean average precision, for each query.

Knows scores and which answers are right. Does not know images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DEPTHS = (1, 5, 10)
KEPT = 100
"""Answers to a query that are kept: more than pins, pages and second looks ask for."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """All queries' answers, or the first of them, best first.

    order: shape (queries, answers), places among the stored; right: the same shape, whether the
    answer there shows the query's product; scores: the same shape, descending.
    An answer that does not count (the query itself) is last, with score -inf.
    """

    order: NDArray[np.int_]
    right: NDArray[np.bool_]
    scores: Floats

    def first(self, count: int) -> Ranking:
        """Return a copy with each query's first answers alone."""
        return Ranking(
            self.order[:, :count].copy(),
            self.right[:, :count].copy(),
            self.scores[:, :count].copy(),
        )


class NearestRight(NamedTuple):
    """Each query's first right answer; each array has the shape (queries,)."""

    rank: NDArray[np.int_]
    """0 for the first answer of all."""
    place: NDArray[np.int_]
    """Among the stored."""
    score: Floats


def nearest_right(ranking: Ranking) -> NearestRight:
    """Return the first right answers; the ranking has all answers, and each query a right one."""
    rank = ranking.right.argmax(1)
    rows = np.arange(len(rank))
    return NearestRight(rank, ranking.order[rows, rank], ranking.scores[rows, rank])


def rank(scores: Floats, right: NDArray[np.bool_], counted: NDArray[np.bool_]) -> Ranking:
    """Sort each query's answers by their scores; equal scores keep the order of the stored.

    All three have the shape (queries, stored).
    """
    kept = np.where(counted, scores, -np.inf)
    order = np.argsort(-kept, axis=1, kind="stable")
    return Ranking(
        order,
        np.take_along_axis(right & counted, order, 1),
        np.take_along_axis(kept, order, 1),
    )


def hit_within(ranking: Ranking, depth: int) -> Floats:
    """Return for each query 1 if one of its first answers is right, else 0."""
    return np.asarray(ranking.right[:, :depth].any(1), np.float64)


def average_precision(ranking: Ranking) -> Floats:
    """Return for each query the mean precision at the places of its right answers."""
    places = np.arange(1, ranking.right.shape[1] + 1)
    precision = np.cumsum(ranking.right, 1) / places
    total = np.maximum(ranking.right.sum(1), 1)
    return np.asarray((precision * ranking.right).sum(1) / total, np.float64)


def all_figures(ranking: Ranking) -> dict[str, Floats]:
    """Return each figure by its name, one number for each query; its mean is the figure."""
    figures = {f"recall@{depth}": hit_within(ranking, depth) for depth in DEPTHS}
    return figures | {"mAP": average_precision(ranking)}
