"""Filters of two classes whose vectors have indexes of their own, in a large library."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool

from demo.processes import Engine, ServerError
from productsearch_engine import settings
from productsearch_engine.database.pool import open_pool
from productsearch_engine.limits import WINDOW
from productsearch_engine.store import search_statements
from productsearch_engine.store.class_indexes import Bounds, ClassIndexes
from productsearch_engine.store.images import Images, half
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.nearest_builds import NearestBuilds
from productsearch_engine.store.plans import Borders, Plan, Step
from productsearch_engine.store.statements import ClassColumn, ClassFilter
from tests.engine.commands import ran
from tests.engine.databases import connected, one_postgresql
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
BOUNDS = Bounds(library=0, large=400, count_max=9, share=9)
ALL = 3000

FAR = "the index has too few images, or a crowd"
FIRST = "the index is good for the first ranks alone"
ONE, OTHER = Step(Plan.CLASS_BUDGET, "class_id1"), Step(Plan.CLASS_BUDGET, "class_id2")
UNION = Step(Plan.CLASS_UNION)


@pytest.mark.parametrize(
    ("stored", "first", "second", "indexed", "is_and", "expected"),
    [
        # One of both
        (300_001, 90_000, 90_000, "12", False, [UNION]),
        (300_001, 90_000, 90_000, "1", False, []),
        (300_000, 90_000, 90_000, "12", False, []),
        # Both: the smaller one first
        (300_001, 90_000, 90_001, "12", True, [ONE, OTHER]),
        (300_001, 90_001, 90_000, "12", True, [OTHER, ONE]),
        (300_001, 90_000, 90_000, "2", True, [OTHER]),
        (300_000, 90_000, 90_001, "12", True, []),
        # A rare one, whose images are looked up unless much of them passes
        (300_001, 30_000, 120_000, "12", True, [ONE]),
        (300_001, 30_000, 119_999, "12", True, []),
        (300_001, 30_001, 119_999, "12", True, [ONE, OTHER]),
        (300_001, 120_000, 30_000, "1", True, []),
    ],
)
def test_plans_by_indexes_of_two_classes(
    stored: int, first: int, second: int, indexed: str, is_and: bool, expected: list[Step]
) -> None:
    """Both sides of each border."""
    images: dict[ClassColumn, int] = {"class_id1": first, "class_id2": second}
    has: set[ClassColumn] = {column for column in images if column[-1] in indexed}
    assert expected == Borders().by_class_indexes(stored, images, has, is_and=is_and)


def test_plans_by_the_index_of_one_class() -> None:
    """In a library of any size, if there is one."""
    for stored in (1000, 300_001):
        images: dict[ClassColumn, int] = {"class_id2": 500}
        found = Borders().by_class_indexes(stored, images, {"class_id2"}, is_and=False)
        assert [Step(Plan.CLASS_INDEX, "class_id2")] == found
        assert [] == Borders().by_class_indexes(stored, images, set(), is_and=False)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in (
        ("BUDGET", 2100),
        ("BUDGET_FIRST", 800),
        ("BUDGET_PASSING", 1050),
        ("BUDGET_FIRST_PASSING", 400),
        ("BUDGET_ENOUGH", 1250),
        ("BUDGET_FIRST_ENOUGH", 600),
    ):
        monkeypatch.setattr(search_statements, name, number)


@pytest.fixture(scope="module")
def dsn(engine: Engine) -> str:
    """Return the connection string of a database that no running engine looks after.

    One would take the small classes' indexes away at its next look.
    """
    with connected(engine) as connection:
        connection.execute("create database two_classes")
        return f"host={connection.info.host} user=postgres dbname=two_classes"


@pytest.fixture(scope="module")
def pool(dsn: str) -> Iterator[ConnectionPool[Any]]:
    """Connections to it."""
    with open_pool(settings.load({"PRODUCTSEARCH_ENGINE_DATABASE": dsn}, {}), 4) as opened:
        yield opened


@pytest.fixture
def indexed_pool(dsn: str) -> Iterator[ConnectionPool[Any]]:
    """One connection whose planner takes the index even while to scan and sort would be cheaper."""
    own = make_conninfo(dsn, options="-c enable_sort=off")
    with open_pool(settings.load({"PRODUCTSEARCH_ENGINE_DATABASE": own}, {}), 1) as opened:
        yield opened


@pytest.fixture(scope="module")
def shop(pool: ConnectionPool[Any]) -> Iterator[tuple[Library, Vectors, Classes]]:
    """First class 1 is 4 of 5 at random, second class 1 those on one side; both have an index."""
    vectors = np.random.default_rng(5).normal(size=(ALL, DIMENSIONS)).astype(np.float16)
    classes: Classes = [
        (1 if n % 5 else None, 1 if of[0] > -0.5 else 2) for n, of in enumerate(vectors)
    ]
    builds = NearestBuilds(pool, class_indexes=ClassIndexes(BOUNDS))
    with filled(pool, vectors.astype(np.float32), classes) as library:
        builds.index_class(library, ("class_id1", 1))
        builds.index_class(library, ("class_id2", 1))
        yield library, vectors.astype(np.float32), classes


def _query(side: float) -> Vectors:
    """Return an image searched with: 1 is the middle of the class that looks alike, -1 far off."""
    query = np.full(DIMENSIONS, 0.3, np.float32)
    query[0] = side * 3
    return query


BOTH, EITHER = only(1, 1), only(1, 1, any_class=True)
BUDGET, READ_BOTH = Plan.CLASS_BUDGET.value, Plan.CLASS_UNION.value


@pytest.mark.parametrize(
    ("chosen", "side", "changes", "told"),
    [
        (EITHER, 1.0, {}, [READ_BOTH]),
        (EITHER, -1.0, {}, [READ_BOTH]),
        (EITHER, 0.0, {"BUDGET_PASSING": 1701}, [READ_BOTH, FIRST]),
        (EITHER, 0.0, {"BUDGET_FIRST_PASSING": 801}, [READ_BOTH, FAR, Plan.PREFIXES.value]),
        # Nobody counts so far that the smaller one is known: that of the first class leads past
        # what passes, if it lies elsewhere; of that of the second one 4 of 5 pass anywhere.
        (BOTH, 1.0, {}, [BUDGET]),
        (BOTH, -1.0, {}, [BUDGET, FAR, BUDGET]),
        (BOTH, 0.0, {"BUDGET_PASSING": 1601}, [BUDGET, FIRST]),
        (
            BOTH,
            -1.0,
            {"BUDGET_PROBE_PASSING": 450},
            [BUDGET, FAR, BUDGET, FAR, Plan.PREFIXES.value],
        ),
    ],
)
def test_answers_are_right_wherever_the_classes_lie(
    shop: tuple[Library, Vectors, Classes],
    indexed_pool: ConnectionPool[Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    chosen: ClassFilter,
    side: float,
    changes: dict[str, int],
    told: list[str],
) -> None:
    """Complete, none twice, hardly anything missed, in pages that agree; each step is logged."""
    library, vectors, classes = shop
    for name, number in changes.items():
        monkeypatch.setattr(search_statements, name, number)
    images = Images(indexed_pool, borders=LARGE, class_indexes=ClassIndexes(BOUNDS))
    query = _query(side)
    with caplog.at_level(logging.DEBUG, "productsearch_engine.store.ranking"):
        images.search(library, query, chosen, 0, WINDOW)
    assert told == [record.getMessage().rpartition(": ")[2] for record in caplog.records]
    exact = nearest(vectors, query, classes, chosen)
    require_right_window(images, library, query, chosen, exact)


@pytest.mark.parametrize(
    ("plan", "scanned", "scans"),
    [(Plan.CLASS_UNION, None, 2), (Plan.CLASS_BUDGET, "class_id1", 1)],
)
def test_an_index_is_read_as_far_as_it_is_needed(
    shop: tuple[Library, Vectors, Classes],
    indexed_pool: ConnectionPool[Any],
    plan: Plan,
    scanned: ClassColumn | None,
    scans: int,
) -> None:
    """Once for a probe and a page; two of them side by side, together as far as one."""
    library, _, _ = shop
    values = {"embedding": half(_query(0.0)), "digest": b"", "start": 0, "count": 10}
    values |= {"read": 800, "class_id1": 1, "class_id2": 1, "candidates": 0, "stored": 0}
    chosen = EITHER if plan is Plan.CLASS_UNION else BOTH
    text = b"explain (analyze, costs off, timing off, summary off, buffers off) "
    text += search_statements.search(library, chosen, plan, scanned)
    with indexed_pool.connection() as connection:
        lines = [str(row[0]) for row in connection.execute(text, values)]
    read = [line for line in lines if "Index Scan using" in line and "prefix_idx" in line]
    assert scans == len(read)
    assert "Seq Scan" not in "\n".join(lines)
    rows = [int(float(line.partition("rows=")[2].split()[0])) for line in read]
    # As many as pass for the first ranks, and what lies between them.
    assert 600 <= sum(rows) <= 1100


def test_a_class_that_the_other_contains(
    pool: ConnectionPool[Any], indexed_pool: ConnectionPool[Any]
) -> None:
    """Each image comes by both indexes and is one: no crowd, none twice."""
    vectors = np.random.default_rng(6).normal(size=(ALL, DIMENSIONS)).astype(np.float32)
    classes: Classes = [(1, 1) if n % 2 else (2, 2) for n in range(ALL)]
    builds = NearestBuilds(pool, class_indexes=ClassIndexes(BOUNDS))
    images = Images(indexed_pool, borders=LARGE, class_indexes=ClassIndexes(BOUNDS))
    with filled(pool, vectors, classes) as library:
        builds.index_class(library, ("class_id1", 1))
        builds.index_class(library, ("class_id2", 1))
        hits, _ = images.search(library, vectors[1], EITHER, 0, 300)
        exact = nearest(vectors, vectors[1], classes, EITHER)[:300]
    assert 300 == len({hit.sign for hit in hits})
    assert 297 <= len({hit.sign for hit in hits} & set(exact))


def test_the_command_builds_and_lists(
    engine: Engine,
    dsn: str,
    shop: tuple[Library, Vectors, Classes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What an operator asks for by hand; a class that is too small is refused with the bounds."""
    monkeypatch.setenv("PRODUCTSEARCH_ENGINE_DATABASE", dsn)
    name = shop[0].name
    shown = ran(engine, "library", "index-class", name)
    assert "class_id1 1" in shown
    assert "2400" in shown
    ran(engine, "library", "create", "empty")
    with pytest.raises(ServerError, match=r"0 of the 0 images of 'empty': .* more than 150000"):
        ran(engine, "library", "index-class", "empty", "--class-id2", "7")
    assert "no class" in ran(engine, "library", "index-class", "empty")
    ran(engine, "library", "delete", "empty", "--yes")
    monkeypatch.setattr(Bounds, "has_any", lambda *_: True)
    monkeypatch.setattr(Bounds, "drops", lambda *_: False)
    for _ in range(2):  # it is there already the second time
        told = ran(engine, "library", "index-class", name, "--class-id2", "2", "--json")
        assert 1 == told.count('"column": "class_id2", "class_id": 2, "images": ')
