"""Fits what a library's scores mean on its user's own labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from productsearch_engine.evaluation import reliability, rising_curve
from productsearch_engine.evaluation.dataset import DatasetError, Item
from productsearch_engine.evaluation.measure import Result
from productsearch_engine.evaluation.metrics import Floats
from productsearch_engine.evaluation.protocols import Protocol

QUESTIONS_MIN = 40
"""First hits that a calibration needs."""

MANY = 200
"""Fewer first hits are told to be few: a perfect score has an error of about .05 on so many."""

_PARTS = 10
_DIVISIONS = 4
"""How often the products are divided into parts: a single division is off by up to 0.05."""


@dataclass(frozen=True)
class Error:
    """How far scores are off on products that were not used."""

    found: float
    by_chance: float
    """What a perfect score has on so few answers, on average."""
    by_chance_max: float
    """And in 19 of 20 cases at most."""

    def __str__(self) -> str:
        return (
            f"{self.found:.3f} (a perfect score would have {self.by_chance:.3f} on so few answers,"
            f" and {self.by_chance_max:.3f} at most)"
        )


@dataclass(frozen=True)
class Fitted:
    """A calibration: its knots, and its error by protocol."""

    cosines: Floats
    scores: Floats
    errors: dict[str, Error]
    count: int
    """First hits that it was fitted to."""


def require_enough(items: Sequence[Item], protocols: Sequence[Protocol]) -> None:
    """Raise DatasetError if the searches of these protocols cannot have 40 first hits, or are all
    for one product."""
    most = 2 * sum(len(protocol.queries) for protocol in protocols)
    if most < QUESTIONS_MIN:
        raise DatasetError(
            f"a calibration needs at least {QUESTIONS_MIN} first hits; these images give at most"
            f" {most}"
        )
    if len({items[i].product for protocol in protocols for i in protocol.queries}) < 2:
        raise DatasetError(
            "a calibration needs searches for at least two products: it is tried on products that"
            " it was not fitted on"
        )


def fit(items: Sequence[Item], results: Sequence[Result]) -> Fitted:
    """Fit one rising function over all protocols, each of which counts alike.

    results: of one embedding, one for each protocol. An error is the mean over some divisions of
    the products into tenths; each tenth has the scores of a fit without it. Raises DatasetError for
    fewer than 40 first hits.
    """
    asked = [reliability.questions(result.answers) for result in results]
    cosine = np.concatenate([each for each, _ in asked])
    right = np.concatenate([each for _, each in asked])
    if len(cosine) < QUESTIONS_MIN or right.all() or not right.any():
        raise DatasetError(
            f"a calibration needs at least {QUESTIONS_MIN} first hits, right and wrong ones;"
            f" these images give {len(cosine)}, {int(right.sum())} of them right"
        )
    sizes = [len(each) for each, _ in asked]
    weight = np.repeat([len(cosine) / len(sizes) / size for size in sizes], sizes)
    _, number = np.unique(
        np.concatenate([_products(items, result) for result in results]), return_inverse=True
    )
    ends = np.cumsum(sizes)
    found: list[list[Error]] = [[] for _ in results]
    for division in range(_DIVISIONS):
        part = np.random.RandomState(division).permutation(number.max() + 1)[number] % _PARTS
        held_out = _held_out(cosine, right, weight, part)
        for place, (size, end, (_, answers)) in enumerate(zip(sizes, ends, asked, strict=True)):
            scores = held_out[end - size : end]
            error = reliability.curve(scores, answers).error
            found[place].append(Error(error, *reliability.by_chance(scores)))
    errors = {
        result.protocol.name: _mean(each) for result, each in zip(results, found, strict=True)
    }
    return Fitted(*rising_curve.fitted(cosine, right, weight), errors, len(cosine))


def _held_out(
    cosine: Floats, right: NDArray[np.bool_], weight: Floats, part: NDArray[np.int_]
) -> Floats:
    """Return the score of each question by a fit without its part."""
    scores = np.empty_like(cosine)
    for number in np.unique(part):
        held = part == number
        knots = rising_curve.fitted(cosine[~held], right[~held], weight[~held])
        scores[held] = np.interp(cosine[held], *knots)
    return scores


def _mean(errors: Sequence[Error]) -> Error:
    return Error(*np.mean([astuple(error) for error in errors], axis=0).tolist())


def _products(items: Sequence[Item], result: Result) -> NDArray[np.str_]:
    """Return the product of each question, in the order of ``reliability.questions``."""
    products = np.array([items[i].product for i in result.protocol.queries])
    return np.concatenate([products, products[result.answers.asked_unknown]])
