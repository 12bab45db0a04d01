"""A filter that much of a large library passes: by the index of all vectors, within a budget."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from psycopg_pool import ConnectionPool

from productsearch_engine.limits import WINDOW
from productsearch_engine.store import search_statements
from productsearch_engine.store.images import Images
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.plans import Borders, Plan
from productsearch_engine.store.statements import ClassFilter
from tests.engine.databases import one_postgresql
from tests.engine.test_plans import (
    DIMENSIONS,
    Classes,
    Vectors,
    filled,
    nearest,
    only,
    require_right_window,
)

pytestmark = one_postgresql

LARGE = Borders(exact_images=0, prefix_images=0, large_library=0)
ALL = 2000
CROWD = 100

FAR = "the index has too few images, or a crowd"
FIRST = "the index is good for the first ranks alone"


@pytest.mark.parametrize(
    ("stored", "passing", "is_and", "expected"),
    [
        (300_000, 300_000, False, Plan.PREFIXES),
        (300_001, 120_000, False, Plan.BUDGET),
        (300_001, 119_999, False, Plan.PREFIXES),
        (300_001, 120_000, True, Plan.PREFIXES),
        (300_000, 30_000, False, Plan.CLASSES),
        (300_001, 15_000, False, Plan.CLASSES),
        (300_001, 15_001, False, Plan.PREFIXES),
        (300_001, 30_000, True, Plan.CLASSES),
        (300_001, 30_001, True, Plan.PREFIXES),
    ],
)
def test_plan_in_a_large_library(stored: int, passing: int, is_and: bool, expected: Plan) -> None:
    """Both sides of each border."""
    assert expected is Borders().plan(stored, passing, is_and=is_and)


def _drawn() -> tuple[Vectors, Classes]:
    """Return images: first class 1 is 3 of 4 at random, second class 1 those on one side."""
    vectors = np.random.default_rng(5).normal(size=(ALL, DIMENSIONS)).astype(np.float16)
    classes: Classes = [
        (1 if n % 4 else 2, 1 if of[0] > -0.6 else 2) for n, of in enumerate(vectors)
    ]
    return vectors.astype(np.float32), classes


@pytest.fixture(scope="module")
def shop(pool: ConnectionPool[Any]) -> Iterator[tuple[Library, Vectors, Classes]]:
    """A library of them."""
    vectors, classes = _drawn()
    with filled(pool, vectors, classes) as library:
        yield library, vectors, classes


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_statements, "BUDGET", 1700)
    monkeypatch.setattr(search_statements, "BUDGET_FIRST", 800)
    monkeypatch.setattr(search_statements, "BUDGET_PASSING", 1100)
    monkeypatch.setattr(search_statements, "BUDGET_FIRST_PASSING", 450)


def _query(side: float) -> Vectors:
    """Return an image searched with: 1 is the middle of the class that looks alike, -1 far off."""
    query = np.full(DIMENSIONS, 0.3, np.float32)
    query[0] = side * 3
    return query


@pytest.mark.parametrize(
    ("chosen", "side", "told"),
    [
        (only(1), 1.0, []),
        (only(1), -1.0, []),
        (only(1, 1, any_class=True), -1.0, []),
        (only(None, 1), 1.0, []),
        (only(None, 1), -1.0, [FAR]),
        (only(1), 0.0, [FIRST]),
    ],
)
def test_answers_are_right_wherever_a_class_lies(
    shop: tuple[Library, Vectors, Classes],
    indexed_pool: ConnectionPool[Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    chosen: ClassFilter,
    side: float,
    told: list[str],
) -> None:
    """Complete and hardly anything missed, in pages that agree; what the index lacks is told."""
    library, vectors, classes = shop
    if FIRST in told:
        monkeypatch.setattr(search_statements, "BUDGET_PASSING", 1500)
    query = _query(side)
    images = Images(indexed_pool, borders=LARGE)
    with caplog.at_level(logging.DEBUG, "productsearch_engine.store.ranking"):
        images.search(library, query, chosen, 0, WINDOW)
    assert [Plan.BUDGET.value, *told] == [
        record.getMessage().rpartition(": ")[2] for record in caplog.records
    ]
    exact = nearest(vectors, query, classes, chosen)
    require_right_window(images, library, query, chosen, exact)


def test_a_crowd_that_does_not_pass(
    pool: ConnectionPool[Any], indexed_pool: ConnectionPool[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It hides what lies beside it all the same, so all prefixes are compared."""
    vectors, classes = _drawn()
    vectors[:CROWD] = vectors[0]
    classes[:CROWD] = [(2, 2)] * CROWD
    images = Images(indexed_pool, borders=LARGE)
    with (
        filled(pool, vectors, classes) as library,
        caplog.at_level(logging.DEBUG, "productsearch_engine.store.ranking"),
    ):
        hits, _ = images.search(library, vectors[0], only(1), 0, 300)
    assert caplog.records[-1].getMessage().endswith(FAR)
    exact = nearest(vectors, vectors[0], classes, only(1))[:300]
    assert 298 <= len({hit.sign for hit in hits} & set(exact))
