"""What ``evaluate --calibrate`` fits: every protocol counts, and counts alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from productsearch_engine.evaluation import calibrate
from productsearch_engine.evaluation.dataset import DatasetError, Item
from productsearch_engine.evaluation.measure import Result
from productsearch_engine.evaluation.metrics import Ranking
from productsearch_engine.evaluation.protocols import Protocol
from productsearch_engine.evaluation.reliability import Answers

PRODUCTS = 25
NOTHING = np.empty(0)


def searched(name: str, queries: int, cosine: float, share: float) -> Result:
    """Return searches whose first hits have about one cosine, and so many of them are right.

    No product is left out: there are as many questions as queries.
    """
    chance = np.random.RandomState(queries)
    known = chance.normal(cosine, 0.001, queries)
    right = np.arange(queries) < round(share * queries)
    places = np.arange(queries)
    ranking = Ranking(places[:, None], right[:, None], known[:, None])
    none = np.zeros(queries, bool)
    answers = Answers(known, chance.permutation(right), NOTHING, none)
    return Result(Protocol(name, places, places), ranking, {}, NOTHING, NOTHING, answers)


def items(count: int) -> list[Item]:
    return [Item(path=Path(f"{i}.jpg"), product=str(i % PRODUCTS)) for i in range(count)]


def test_every_protocol_counts_alike() -> None:
    """Where protocols differ the fit lies in the middle, however many searches each has, and the
    error of each is told."""
    results = [searched("few", 200, 0.5, 0.9), searched("many", 2000, 0.5, 0.1)]
    fitted = calibrate.fit(items(2000), results)
    assert pytest.approx(0.5, abs=0.06) == float(np.interp(0.5, fitted.cosines, fitted.scores))
    assert ["few", "many"] == [*fitted.errors]
    assert all(error.found == pytest.approx(0.4, abs=0.06) for error in fitted.errors.values())


def test_protocols_at_different_cosines_are_both_right() -> None:
    """What only the second protocol tells is in the fit."""
    results = [searched("low", 400, 0.4, 0.2), searched("high", 400, 0.8, 0.9)]
    fitted = calibrate.fit(items(400), results)
    scores = np.interp([0.4, 0.8], fitted.cosines, fitted.scores)
    assert pytest.approx([0.2, 0.9], abs=0.06) == scores.tolist()
    assert max(error.found for error in fitted.errors.values()) <= 0.1


def test_few_searches_are_refused() -> None:
    """With 199 first hits nothing is fitted."""
    with pytest.raises(DatasetError, match="at least 200 first hits"):
        calibrate.fit(items(199), [searched("few", 199, 0.5, 0.5)])
