"""Says what a score is worth: of the first hits with score 0.9, about nine in ten are right.

Half of the questions are about products that are stored, and half about products that are not:
each query is asked once as it is, and once with the images of its product left out. A first hit
of the second kind is always wrong.

Knows scores and which hits are right. Does not know images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from productsearch_engine.evaluation.metrics import Floats

_BINS = 10
_DRAWS = 200


@dataclass(frozen=True)
class Answers:
    """First hits: their cosines and whether they are right."""

    known: Floats
    """Cosines of first hits while the product is stored, shape (queries,)."""
    right: NDArray[np.bool_]
    """Whether those hits are right."""
    unknown: Floats
    """Cosines of first hits while the product is not stored."""
    asked_unknown: NDArray[np.bool_]
    """Which queries have such a hit, shape (queries,): not if nothing else is stored."""


@dataclass(frozen=True)
class Curve:
    """Mean score and share of right hits of each bin that has hits, and how many."""

    score: Floats
    right: Floats
    count: NDArray[np.int_]

    @property
    def error(self) -> float:
        """Expected calibration error: the mean distance of score and share, 0 to 1."""
        return float((self.count * np.abs(self.score - self.right)).sum() / self.count.sum())


def first_hits(cosine: Floats, right: NDArray[np.bool_], counted: NDArray[np.bool_]) -> Answers:
    """Return the first hits of all queries; the arrays have the shape (queries, stored)."""
    known = np.where(counted, cosine, -np.inf)
    best = known.argmax(1)
    rows = np.arange(len(cosine))
    unknown = np.where(counted & ~right, cosine, -np.inf).max(1)
    return Answers(
        known[rows, best], right[rows, best], unknown[np.isfinite(unknown)], np.isfinite(unknown)
    )


def joined(parts: Sequence[Answers]) -> Answers:
    """Return the first hits of several groups of queries as those of one."""
    return Answers(
        np.concatenate([part.known for part in parts]),
        np.concatenate([part.right for part in parts]),
        np.concatenate([part.unknown for part in parts]),
        np.concatenate([part.asked_unknown for part in parts]),
    )


def questions(answers: Answers) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the cosines of all first hits, of both kinds, and whether each is right."""
    cosine = np.concatenate([answers.known, answers.unknown])
    return cosine, np.concatenate([answers.right, np.zeros(len(answers.unknown), bool)])


def curve(scores: Floats, right: NDArray[np.bool_]) -> Curve:
    """Sort first hits into ten bins of their scores."""
    place = np.clip((scores * _BINS).astype(int), 0, _BINS - 1)
    count = np.bincount(place, minlength=_BINS)
    there = count > 0
    mean = np.bincount(place, scores, _BINS)[there] / count[there]
    share = np.bincount(place, right, _BINS)[there] / count[there]
    return Curve(mean, share, count[there])


def by_chance(scores: Floats) -> tuple[float, float]:
    """Return the error that these scores have if they are perfect: its mean, and 19 of 20 below.

    Shares of few hits are never exactly the scores, as if each hit were right or wrong by itself.
    """
    chance = np.random.RandomState(0)
    drawn = [curve(scores, chance.uniform(size=len(scores)) < scores).error for _ in range(_DRAWS)]
    return float(np.mean(drawn)), float(np.percentile(drawn, 95))
