"""Searches are complete and right, whichever plan the engine chooses; and it chooses by counts."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from numpy.typing import NDArray
from psycopg_pool import ConnectionPool

from productsearch_engine.limits import EXACT_IMAGES, WINDOW
from productsearch_engine.store import search_statements, statements
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.class_counts import ClassCounts
from productsearch_engine.store.images import Images, half
from productsearch_engine.store.libraries import Libraries, Library
from productsearch_engine.store.plans import Borders, Plan
from productsearch_engine.store.rows import Row
from productsearch_engine.store.statements import ClassFilter
from tests.engine.databases import one_postgresql

_numbers = itertools.count(1)
DIMENSIONS = 8
EVERY = ClassFilter(class_id1=None, class_id2=None, any_class=False)

Vectors = NDArray[np.float32]
Classes = list[tuple[int | None, int | None]]


def only(
    class_id1: int | None = None, class_id2: int | None = None, *, any_class: bool = False
) -> ClassFilter:
    """Return a filter."""
    return ClassFilter(class_id1=class_id1, class_id2=class_id2, any_class=any_class)


@contextmanager
def filled(pool: ConnectionPool[Any], vectors: Vectors, classes: Classes) -> Iterator[Library]:
    """Yield a library with these images, sign n for the n-th."""
    libraries, name = Libraries(pool), f"plans-{next(_numbers)}"
    libraries.create(name, capacity=10**6, embedding="x", dimensions=DIMENSIONS, api_key=None)
    library = libraries.named(name)
    rows = [
        Row(
            sign=sign,
            digest=(sign + 1).to_bytes(8, "big"),
            brief=b"",
            class_id1=first,
            class_id2=second,
            vector=vector.astype("<f2").tobytes(),
            created_at=None,
            updated_at=None,
            copy=None,
            region=None,
        )
        for sign, (vector, (first, second)) in enumerate(zip(vectors, classes, strict=True))
    ]
    BulkRows(pool).load(library, rows)
    try:
        yield replace(library, image_count=len(vectors))
    finally:
        libraries.delete(name)


def passes(classes: ClassFilter, first: int | None, second: int | None) -> bool:
    """Return whether an image of these classes passes a filter."""
    wanted = [
        has == class_id
        for has, class_id in ((first, classes.class_id1), (second, classes.class_id2))
        if class_id is not None
    ]
    return (any if classes.any_class and wanted else all)(wanted)


def nearest(vectors: Vectors, query: Vectors, classes: Classes, chosen: ClassFilter) -> list[int]:
    """Return the signs of all images that pass, nearest first, equal ones by sign."""
    stored, asked = vectors.astype(float), query.astype(float)
    # As PostgreSQL computes it: whole numbers then give the same bits, and equal distances stay so.
    lengths = np.sqrt((stored**2).sum(1) * (asked**2).sum())
    distances = 1 - stored @ asked / lengths
    return sorted(
        (sign for sign, of in enumerate(classes) if passes(chosen, *of)),
        key=lambda sign: (distances[sign], sign),
    )


def require_right_window(
    images: Images, library: Library, query: Vectors, chosen: ClassFilter, exact: list[int]
) -> None:
    """Require a whole window that has none twice, misses hardly any, and whose pages agree."""
    whole, more = images.search(library, query, chosen, 0, WINDOW)
    assert (WINDOW, False) == (len(whole), more)
    signs = [hit.sign for hit in whole]
    assert WINDOW == len(set(signs))
    assert set(signs) <= set(exact)
    for ranks in (10, 300, WINDOW):
        assert 0.97 * ranks <= len(set(signs[:ranks]) & set(exact[:ranks]))
    for step in (90, 340):
        pages = [
            hit.sign
            for start in range(0, WINDOW, step)
            for hit in images.search(library, query, chosen, start, step)[0]
        ]
        assert signs == pages


@dataclass(frozen=True)
class Shop:
    """A random library and a query: few values, so that many distances are equal."""

    vectors: Vectors
    classes: Classes
    query: Vectors


@some.composite
def shops(draw: some.DrawFn) -> Shop:
    """Draw a library of up to 60 images."""
    random = np.random.default_rng(draw(some.integers(0, 2**32)))
    images = draw(some.integers(0, 60))
    kinds = draw(some.integers(1, 4))
    vectors = random.integers(-1, 2, (images, DIMENSIONS)).astype(np.float32)
    vectors[:, 0] = 1
    query = random.integers(-1, 2, DIMENSIONS).astype(np.float32)
    query[0] = 1
    ids = [None, *range(1, kinds + 1)]
    classes = [
        (ids[random.integers(len(ids))], ids[random.integers(len(ids))]) for _ in range(images)
    ]
    return Shop(vectors, classes, query)


filters = some.builds(
    only,
    some.sampled_from([None, 1, 2, 3, 9]),
    some.sampled_from([None, 1, 2, 3, 9]),
    any_class=some.booleans(),
)
lowered = some.builds(
    Borders,
    exact_images=some.sampled_from([-1, 5, 30, EXACT_IMAGES]),
    prefix_images=some.sampled_from([-1, 35]),
    rare_share=some.sampled_from([0.0, 0.1, 0.5, 1.0]),
)


@settings(max_examples=30)
@given(shops(), some.lists(filters, min_size=1, max_size=6), lowered, some.data())
def test_answers_are_complete_and_exact(
    pool: ConnectionPool[Any],
    shop: Shop,
    chosen: list[ClassFilter],
    borders: Borders,
    data: some.DataObject,
) -> None:
    """Any page with any filter on either side of any border is that of the exact answer."""
    images = Images(pool, borders=borders)
    with filled(pool, shop.vectors, shop.classes) as library:
        for classes in (EVERY, *chosen):
            exact = nearest(shop.vectors, shop.query, shop.classes, classes)
            start = data.draw(some.integers(0, 70))
            count = data.draw(some.integers(1, 70))
            hits, more = images.search(library, shop.query, classes, start, count)
            expected = exact[start : start + count]
            assert (len(expected), len(exact) > start + count) == (len(hits), more)
            # The index of the vectors has them in half precision of unit length.
            compared = max(borders.exact_images, borders.prefix_images)
            if classes != EVERY or len(shop.vectors) <= compared:
                assert expected == [hit.sign for hit in hits]


@pytest.fixture(scope="module")
def large(pool: ConnectionPool[Any]) -> Iterator[tuple[Library, Vectors, Classes]]:
    """A library with more images than a window: classes of 1,200, 300 and a few images."""
    vectors = np.random.default_rng(1).normal(size=(1500, DIMENSIONS)).astype(np.float16)
    classes: Classes = [(1 if n < 1200 else 2, 3 if n % 100 == 0 else 4) for n in range(1500)]
    with filled(pool, vectors.astype(np.float32), classes) as library:
        yield library, vectors.astype(np.float32), classes


@pytest.mark.parametrize(
    ("chosen", "passing"),
    [
        (EVERY, 1500),
        (only(1), 1200),
        (only(2), 300),
        (only(1, 3), 12),
        (only(2, 4), 297),
        (only(1, 3, any_class=True), 1203),
        (only(2, 3, any_class=True), 312),
        (only(5), 0),
    ],
)
@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("exact_images", [0, 10_000])
def test_windows_are_filled(
    large: tuple[Library, Vectors, Classes],
    pool: ConnectionPool[Any],
    chosen: ClassFilter,
    passing: int,
    share: float,
    exact_images: int,
) -> None:
    """Whatever the plan, min(n, 1000) of n images that pass come, page by page as in one piece."""
    library, vectors, classes = large
    images = Images(
        pool, borders=Borders(exact_images=exact_images, prefix_images=0, rare_share=share)
    )
    query = vectors[3] + 0.1
    whole, more = images.search(library, query, chosen, 0, WINDOW)
    assert (min(passing, WINDOW), False) == (len(whole), more)
    pages = [images.search(library, query, chosen, start, 90)[0] for start in range(0, 1080, 90)]
    assert [hit.sign for hit in whole] == [hit.sign for page in pages for hit in page]
    if chosen != EVERY or exact_images:
        exact = nearest(vectors, query, classes, chosen)[:WINDOW]
        # Distances of half precision: the very same images, but for the last place or two.
        assert len(exact) - 2 <= len({hit.sign for hit in whole} & set(exact))


BORDERS = Borders(exact_images=10, prefix_images=12, rare_share=0.5)


@pytest.mark.parametrize(
    ("chosen", "images", "plan"),
    [
        (EVERY, 10, Plan.LIBRARY),
        (EVERY, 11, Plan.PREFIXES),
        (EVERY, 12, Plan.PREFIXES),
        (EVERY, 13, Plan.NEAREST),
        (only(1), 10, Plan.CLASSES),  # 5 of 10
        (only(1), 11, Plan.PREFIXES),  # 6 of 11
        (only(None, 2), 12, Plan.CLASSES),  # 2 of 12
        (only(1, 2), 11, Plan.CLASSES),  # the rarer one has 2
        (only(1, 2, any_class=True), 10, Plan.LIBRARY),  # 5 and 2
        (only(1, 2, any_class=True), 11, Plan.PREFIXES),  # 6 and 2
        (only(7, 2, any_class=True), 10, Plan.CLASSES),  # 0 and 2
        (only(7), 11, Plan.CLASSES),
    ],
)
def test_plan_on_both_sides_of_each_border(
    pool: ConnectionPool[Any],
    caplog: pytest.LogCaptureFixture,
    chosen: ClassFilter,
    images: int,
    plan: Plan,
) -> None:
    """The plan follows from the counts of the classes and of the library, and is logged."""
    vectors = np.random.default_rng(2).normal(size=(images, DIMENSIONS)).astype(np.float32)
    classes: Classes = [(1 if n % 2 == 0 else 3, 2 if n % 5 == 4 else None) for n in range(images)]
    with (
        filled(pool, vectors, classes) as library,
        caplog.at_level(logging.DEBUG, "productsearch_engine.store.ranking"),
    ):
        Images(pool, borders=BORDERS).search(library, vectors[0], chosen, 0, 5)
    assert [plan.value] == [record.getMessage().rpartition(": ")[2] for record in caplog.records]


@one_postgresql
def test_counts_are_remembered_and_bounded(
    large: tuple[Library, Vectors, Classes],
    pool: ConnectionPool[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A class is counted once a minute, no further than it matters, and few are remembered."""
    library, counts = large[0], ClassCounts()
    counted = []
    original = statements.count
    monkeypatch.setattr(statements, "count", lambda *of: counted.append(of[1:]) or original(*of))
    monkeypatch.setattr("productsearch_engine.store.class_counts.CLASS_COUNTS_MAX", 3)
    with pool.connection() as connection:
        images = [counts.images(connection, library, only(1), enough) for enough in (9, 9, 5, 2000)]
        assert [{"class_id1": found} for found in (9, 9, 5, 1200)] == images
        assert 2 == len(counted)
        assert {"class_id1": 1200} == counts.images(connection, library, only(1), 1300)
        assert 2 == len(counted)
        for class_id in range(10, 20):
            assert {"class_id2": 0} == counts.images(connection, library, only(None, class_id), 5)
        assert 3 == len(counts)
        monkeypatch.setattr("productsearch_engine.store.class_counts.CLASS_COUNT_REMEMBERED_S", -1)
        before = len(counted)
        counts.images(connection, library, only(None, 19), 5)
        assert before + 1 == len(counted)


@pytest.mark.parametrize(
    ("plan", "chosen", "used", "unused"),
    [
        (Plan.NEAREST, EVERY, "nearest", "Seq Scan"),
        (Plan.LIBRARY, EVERY, "Seq Scan", "nearest"),
        (Plan.PREFIXES, only(1), "Seq Scan on nearest", "prefix_idx"),
        (Plan.PREFIXES, only(2, 3), "Seq Scan on nearest", "class_id1_idx"),
        (Plan.PREFIXES, only(2, 3, any_class=True), "Seq Scan on nearest", "class_id2_idx"),
        # PostgreSQL may skip images without a class by the index, but not look one up.
        (Plan.LIBRARY, only(2), "class_id1 + 0", "Index Cond"),
        (Plan.LIBRARY, only(2, 3, any_class=True), "class_id2 + 0", "Index Cond"),
        (Plan.CLASSES, only(2), "class_id1", "nearest"),
        (Plan.CLASSES, only(2, 3), "class_id2", "nearest"),
        (Plan.CLASSES, only(2, 3, any_class=True), "class_id2", "nearest"),
    ],
)
@one_postgresql
def test_postgresql_has_no_choice(
    large: tuple[Library, Vectors, Classes],
    pool: ConnectionPool[Any],
    plan: Plan,
    chosen: ClassFilter,
    used: str,
    unused: str,
) -> None:
    """Each plan's statement uses its own index and no other, however attractive others are."""
    library, vectors, _ = large
    values = {
        "embedding": half(vectors[0]),
        "digest": b"",
        "start": 0,
        "count": 10,
        "candidates": 700,
        "stored": 1500,
    }
    values |= {"class_id1": chosen.class_id1, "class_id2": chosen.class_id2}
    with pool.connection() as connection, connection.transaction():
        attractive = "sort" if plan is Plan.NEAREST else "seqscan"
        connection.execute(f"set local enable_{attractive} = off")
        statement = b"explain " + search_statements.search(library, chosen, plan)
        lines = [str(row[0]) for row in connection.execute(statement, values)]
    text = "\n".join(lines)
    assert used in text
    assert unused not in text


def test_vectors_that_the_index_lacks(indexed_pool: ConnectionPool[Any]) -> None:
    """The index has no vectors of zeros, and a search without a filter returns them too."""
    vectors = np.random.default_rng(3).normal(size=(8, DIMENSIONS)).astype(np.float32)
    vectors[::2] = 0
    images = Images(indexed_pool, borders=Borders(exact_images=0, prefix_images=0))
    with filled(indexed_pool, vectors, [(None, None)] * 8) as library:
        hits, more = images.search(library, vectors[1], EVERY, 0, 8)
        assert (8, False) == (len(hits), more)
