"""Fits what a library's scores mean on its user's own labelled images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from productsearch_engine.evaluation import reliability
from productsearch_engine.evaluation.dataset import DatasetError
from productsearch_engine.evaluation.measure import Result
from productsearch_engine.evaluation.metrics import Floats

_QUESTIONS_MIN = 200
_PARTS = 5
_KNOTS_MAX = 64


def fit(result: Result, products: NDArray[np.str_]) -> tuple[Floats, Floats, float]:
    """Return knots (cosines, scores) and the error on products that were not used.

    products: the product of each query, shape (queries,). The error is of five fits, each
    without a fifth of the products. Raises DatasetError for fewer than 200 first hits.
    """
    answers = result.answers
    cosine, right = reliability.questions(answers)
    if len(cosine) < _QUESTIONS_MIN or right.all() or not right.any():
        raise DatasetError(
            f"a calibration needs at least {_QUESTIONS_MIN} first hits, right and wrong ones;"
            f" these images give {len(cosine)}, {int(right.sum())} of them right"
        )
    owner = np.concatenate([products, products[answers.asked_unknown]])
    _, number = np.unique(owner, return_inverse=True)
    scores = np.empty_like(cosine)
    for part in range(_PARTS):
        held = number % _PARTS == part
        if held.any() and not held.all():
            scores[held] = np.interp(
                cosine[held], *reliability.isotonic(cosine[~held], right[~held])
            )
    error = reliability.curve(scores, right).error
    return *_thinned(*reliability.isotonic(cosine, right)), error


def _thinned(cosines: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """Return at most 64 knots, among them the first and the last."""
    kept = np.unique(np.linspace(0, len(cosines) - 1, _KNOTS_MAX).round().astype(int))
    return cosines[kept], scores[kept]
