"""Fits what a library's scores mean on its user's own labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from productsearch_engine.evaluation import reliability
from productsearch_engine.evaluation.dataset import DatasetError, Item
from productsearch_engine.evaluation.measure import Result
from productsearch_engine.evaluation.metrics import Floats
from productsearch_engine.evaluation.protocols import Protocol

QUESTIONS_MIN = 200
"""First hits that a calibration needs."""

_PARTS = 5
_KNOTS_MAX = 64


@dataclass(frozen=True)
class Fitted:
    """A calibration: its knots, and its error by protocol on products that were not used."""

    cosines: Floats
    scores: Floats
    errors: dict[str, float]


def require_enough(protocols: Sequence[Protocol]) -> None:
    """Raise DatasetError if the searches of these protocols cannot have 200 first hits."""
    most = 2 * sum(len(protocol.queries) for protocol in protocols)
    if most < QUESTIONS_MIN:
        raise DatasetError(
            f"a calibration needs at least {QUESTIONS_MIN} first hits; these images give at most"
            f" {most}"
        )


def fit(items: Sequence[Item], results: Sequence[Result]) -> Fitted:
    """Fit one rising function over all protocols, each of which counts alike.

    results: of one embedding, one for each protocol. The errors are of five fits, each without
    a fifth of the products. Raises DatasetError for fewer than 200 first hits.
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
    held_out = np.empty_like(cosine)
    for part in range(_PARTS):
        held = number % _PARTS == part
        knots = reliability.isotonic(cosine[~held], right[~held], weight[~held])
        held_out[held] = np.interp(cosine[held], *knots)
    ends = np.cumsum(sizes)
    errors = {
        result.protocol.name: reliability.curve(held_out[end - size : end], answers).error
        for result, size, end, (_, answers) in zip(results, sizes, ends, asked, strict=True)
    }
    return Fitted(*_thinned(*reliability.isotonic(cosine, right, weight)), errors)


def _products(items: Sequence[Item], result: Result) -> NDArray[np.str_]:
    """Return the product of each question, in the order of ``reliability.questions``."""
    products = np.array([items[i].product for i in result.protocol.queries])
    return np.concatenate([products, products[result.answers.asked_unknown]])


def _thinned(cosines: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """Return at most 64 knots, among them the first and the last."""
    kept = np.unique(np.linspace(0, len(cosines) - 1, _KNOTS_MAX).round().astype(int))
    return cosines[kept], scores[kept]
