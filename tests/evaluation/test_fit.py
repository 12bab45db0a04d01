"""What ``evaluate --calibrate`` fits: every protocol counts, and counts alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from productsearch_engine.evaluation import calibrate
from productsearch_engine.evaluation.dataset import DatasetError, Item
from productsearch_engine.evaluation.measure import Result
from productsearch_engine.evaluation.metrics import NearestRight, Ranking
from productsearch_engine.evaluation.protocols import Protocol
from productsearch_engine.evaluation.reliability import Answers

PRODUCTS = 25
NOTHING, NO_SCORES = np.empty(0), np.empty(0, int)


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
    return Result(
        protocol=Protocol(name, places, places),
        ranking=ranking,
        figures={},
        same=NO_SCORES,
        different=NO_SCORES,
        answers=answers,
        nearest_right=NearestRight(NO_SCORES, NO_SCORES, NOTHING),
    )


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


@pytest.mark.parametrize("products", [2, PRODUCTS])
def test_forty_first_hits_are_enough(products: int) -> None:
    """Their share is the score where they are, though there be two products; scores rise."""
    searches = [searched("few", 40, 0.5, 0.9)]
    images = [Item(path=Path(f"{i}.jpg"), product=str(i % products)) for i in range(40)]
    fitted = calibrate.fit(images, searches)
    assert pytest.approx(0.9, abs=0.06) == float(np.interp(0.5, fitted.cosines, fitted.scores))
    assert np.all(np.diff(fitted.scores) >= 0)
    assert np.all((fitted.scores > 0) & (fitted.scores < 1))
    assert 40 == fitted.count


def test_a_product_that_alone_is_found_can_be_left_out() -> None:
    """A fit without any right hit has an error, too."""
    few = searched("few", 40, 0.5, 0.5)
    right = np.arange(40) % 2 == 0  # of the first of two products
    results = [replace(few, answers=replace(few.answers, right=right))]
    images = [Item(path=Path(f"{i}.jpg"), product=str(i % 2)) for i in range(40)]
    assert 0.4 <= calibrate.fit(images, results).errors["few"].found <= 1


def test_few_searches_are_refused() -> None:
    """With 39 first hits nothing is fitted."""
    with pytest.raises(DatasetError, match="at least 40 first hits"):
        calibrate.fit(items(39), [searched("few", 39, 0.5, 0.5)])


def test_searches_for_one_product_are_refused() -> None:
    """A fit is tried on products that it was not fitted on: one product is none."""
    images = [Item(path=Path(f"{i}.jpg"), product="one" if i else "other") for i in range(50)]
    protocols = [Protocol("any", np.arange(1, 50), np.arange(50))]
    with pytest.raises(DatasetError, match="at least two products"):
        calibrate.require_enough(images, protocols)
