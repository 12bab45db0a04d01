"""The figures of an evaluation: equal to a known library's, and true where the answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from productsearch_engine.evaluation import (
    bootstrap,
    measure,
    metrics,
    protocols,
    reliability,
    rising_curve,
)
from productsearch_engine.evaluation.dataset import Item
from productsearch_engine.evaluation.measure import Embedded
from productsearch_engine.evaluation.metrics import Floats

RANX = {"recall@1": 4 / 30, "recall@5": 13 / 30, "recall@10": 22 / 30, "mAP": 0.2034903499528374}
"""What ranx 0.3.21 says of the ranking below: hit_rate@1, @5, @10 and map. It is not installed
for the tests: it brings numba and pandas."""


def test_figures_are_those_of_ranx() -> None:
    """Recall and mean average precision of a drawn ranking are what ranx says."""
    chance = np.random.RandomState(7)
    scores = chance.uniform(size=(30, 40))
    right = chance.uniform(size=(30, 40)) < 0.08
    right[np.arange(30), chance.randint(40, size=30)] = True
    figures = metrics.all_figures(metrics.rank(scores, right, np.ones_like(right)))
    assert RANX == pytest.approx({name: float(each.mean()) for name, each in figures.items()})


def test_an_answer_that_does_not_count_is_never_right() -> None:
    """A query that is stored as well does not find itself, however near it is."""
    scores = np.array([[1.0, 0.5, 0.2]])
    right, counted = np.array([[True, False, True]]), np.array([[False, True, True]])
    ranking = metrics.rank(scores, right, counted)
    assert [[1, 2, 0]] == ranking.order.tolist()
    assert [[False, True, False]] == ranking.right.tolist()
    assert [0.5] == metrics.average_precision(ranking).tolist()


def test_the_bootstrap_tells_luck_from_merit() -> None:
    """Of embeddings that are equally good, about one in twenty is called clearly better."""
    chance = np.random.RandomState(3)
    products = [str(number // 5) for number in range(200)]
    called = 0
    for _ in range(60):
        # Images of one product succeed and fail together.
        one, other = (np.repeat(chance.randint(2, size=40), 5).astype(float) for _ in range(2))
        called += bootstrap.difference(one, other, products).clear
    assert called <= 9  # 3 are expected; 10 or more have a chance below one in a thousand
    better = bootstrap.difference(np.ones(200), np.repeat([0.0, 1.0], 100), products)
    assert better.clear
    assert better.low <= 0.5 == better.mean <= better.high


def truth(cosine: Floats) -> Floats:
    """Return the chance that the first hits below are right."""
    return np.asarray(cosine**4)


def drawn(seed: int, count: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return first hits and whether they are right."""
    chance = np.random.RandomState(seed)
    cosine = chance.uniform(size=count)
    return cosine, chance.uniform(size=count) < truth(cosine)


def test_a_fitted_score_is_worth_what_it_says() -> None:
    """Scores fitted on half of the answers have a calibration error below 0.05 on the other half,
    and rise with the cosine."""
    cosine, right = drawn(5, 6000)
    knots = rising_curve.fitted(cosine[::2], right[::2], np.ones(3000))
    assert np.all(np.diff(knots[0]) > 0)
    assert np.all(np.diff(knots[1]) >= 0)
    assert 0 < knots[1].min() < knots[1].max() < 1
    scores = np.interp(cosine[1::2], *knots)
    assert reliability.curve(scores, right[1::2]).error <= 0.05
    assert reliability.curve(cosine[1::2], right[1::2]).error >= 0.2  # the cosine itself is not


def test_few_answers_are_enough_for_a_smooth_curve() -> None:
    """Fitted on 200 answers, scores are off by 0.03 on average; steps would be by 0.04."""
    off = []
    for seed in range(30):
        cosine, right = drawn(seed, 200)
        everywhere = np.linspace(0.02, 0.98, 97)
        scores = np.interp(everywhere, *rising_curve.fitted(cosine, right, np.ones(200)))
        off.append(np.abs(scores - truth(everywhere)).mean())
    assert np.mean(off) <= 0.035


@pytest.mark.parametrize("cosine", [[0.5] * 200, [*[0.2] * 100, *[0.9] * 100], [1.0] * 200])
def test_answers_that_hardly_differ(cosine: list[float]) -> None:
    """Cosines that are all alike, or part right from wrong, give scores between 0 and 1."""
    right = np.arange(200) >= 100
    knots = rising_curve.fitted(np.array(cosine), right, np.ones(200))
    assert np.all(np.diff(knots[0]) > 0)
    assert np.all(np.diff(knots[1]) >= 0)
    assert np.all((knots[1] > 0) & (knots[1] < 1))


def test_the_error_of_a_perfect_score_is_known() -> None:
    """Answers that are right as often as their scores say have the error that is told, and one in
    twenty has more than the most that is told."""
    scores = np.random.RandomState(1).uniform(size=300)
    mean, most = reliability.by_chance(scores)
    errors = []
    for seed in range(200):
        chance = np.random.RandomState(1000 + seed)
        errors.append(reliability.curve(scores, chance.uniform(size=300) < scores).error)
    assert mean == pytest.approx(np.mean(errors), abs=0.005)
    assert 0.01 <= np.mean(np.array(errors) > most) <= 0.11


def test_half_of_the_questions_have_no_right_answer() -> None:
    """Each query is asked with its product and without it."""
    cosine = np.array([[0.9, 0.8, 0.1], [0.3, 0.6, 0.7]])
    right = np.array([[True, False, False], [False, False, True]])
    answers = reliability.first_hits(cosine, right, np.ones_like(right))
    asked, correct = reliability.questions(answers)
    assert [0.9, 0.7, 0.8, 0.6] == asked.tolist()
    assert [True, True, False, False] == correct.tolist()


def test_blocks_of_queries_say_what_all_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few pairs are compared at once, figures, first answers, counts and hits are those of
    all pairs; what is kept of a search does not grow with what is stored."""
    chance = np.random.RandomState(2)
    vectors = chance.normal(size=(150, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    items = [Item(path=Path(f"{n}.jpg"), product=str(n // 3)) for n in range(150)]
    embedded = Embedded("drawn", vectors, 1.0, lambda cosine: np.clip(cosine, 0, 1))
    (protocol,) = protocols.offered(items)
    whole = measure.search(items, embedded, protocol)
    monkeypatch.setattr(measure, "_PAIRS", 1000)
    parts = measure.search(items, embedded, protocol)
    assert (150, 100) == parts.ranking.order.shape
    assert (whole.ranking.order == parts.ranking.order).all()
    assert all((whole.figures[name] == parts.figures[name]).all() for name in whole.figures)
    for name in ("same", "different"):
        assert (getattr(whole, name) == getattr(parts, name)).all()
    assert 2 * 150 == parts.same.sum()
    assert 147 * 150 == parts.different.sum()
    for one, other in zip(whole.nearest_right, parts.nearest_right, strict=True):
        assert one == pytest.approx(other)
    cosine = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    for query in (0, 77, 149):
        order = [n for n in np.argsort(-cosine[query]) if n != query]
        right = [n for n in order if n // 3 == query // 3]
        assert order[:99] == parts.ranking.order[query, :99].tolist()
        assert order.index(right[0]) == parts.nearest_right.rank[query]
        assert right[0] == parts.nearest_right.place[query]


def test_the_bootstrap_draws_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interval does not depend on how many products are drawn at once."""
    chance = np.random.RandomState(4)
    one, other = chance.randint(2, size=(2, 300)).astype(float)
    products = [str(number // 3) for number in range(300)]
    whole = bootstrap.difference(one, other, products)
    monkeypatch.setattr(bootstrap, "_DRAWN", 777)
    assert whole == bootstrap.difference(one, other, products)
