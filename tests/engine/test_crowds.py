"""Very many images that are equal: an index of vectors does not lead out of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from psycopg_pool import ConnectionPool

from productsearch_engine.store import search_statements
from productsearch_engine.store.images import Images, half
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.plans import Borders, Plan
from productsearch_engine.store.search_statements import Fit
from tests.engine.databases import one_postgresql
from tests.engine.test_plans import DIMENSIONS, EVERY, filled, nearest

pytestmark = one_postgresql

INDEXED = Borders(exact_images=0, prefix_images=0)
CROWD = 900
ALL = 2400


def _drawn() -> np.ndarray[Any, np.dtype[np.float32]]:
    chance = np.random.default_rng(7)
    vectors = chance.normal(size=(ALL, DIMENSIONS)).astype(np.float32)
    vectors[:CROWD] = vectors[0]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def shop(pool: ConnectionPool[Any]) -> Iterator[tuple[Library, np.ndarray[Any, Any]]]:
    """A library of which more than a third looks the same."""
    vectors = _drawn()
    with filled(pool, vectors, [(None, None)] * ALL) as library:
        yield library, vectors


@pytest.mark.parametrize("place", ["at", "beside", "far"])
def test_what_lies_beside_a_crowd_is_found(
    shop: tuple[Library, np.ndarray[Any, Any]], indexed_pool: ConnectionPool[Any], place: str
) -> None:
    """The nearest ones, complete, in pages that agree whatever their length."""
    library, vectors = shop
    away = {"at": 0.0, "beside": 0.6, "far": 1.5}[place]
    query = vectors[0] + away * vectors[-1]
    images = Images(indexed_pool, borders=INDEXED)
    whole = [hit.sign for hit in images.search(library, query, EVERY, 0, 1000)[0]]
    exact = nearest(vectors, query, [(None, None)] * ALL, EVERY)
    for ranks in (300, 1000):
        cosines = vectors @ query
        least = cosines[exact[ranks - 1]] - 1e-3
        assert sum(cosines[sign] >= least for sign in whole[:ranks]) > 0.95 * ranks
    for step in (1000, 340, 150):
        pages = [
            hit.sign
            for start in range(0, 1000, step)
            for hit in images.search(library, query, EVERY, start, step)[0]
        ]
        assert whole == pages


def test_what_candidates_are_good_for(
    shop: tuple[Library, np.ndarray[Any, Any]], indexed_pool: ConnectionPool[Any]
) -> None:
    """A crowd behind the first candidates leaves these fit; any page tells it."""
    library, vectors = shop
    query = vectors[-1] - 0.4 * vectors[0]
    values = {"embedding": half(query), "digest": b"", "candidates": 1990, "stored": ALL}
    text = search_statements.search(library, EVERY, Plan.NEAREST)

    def fit(start: int, **changes: int) -> Fit:
        page = values | {"start": start, "count": 10} | changes
        with indexed_pool.connection() as connection:
            rows = connection.execute(text, page, binary=True).fetchall()
        return search_statements.read(rows)[1]

    assert {Fit.FIRST_RANKS} == {fit(start) for start in (0, 345, 500, 5000)}
    # A page of the first ranks asks for no other candidates.
    assert Fit.ALL is fit(0, candidates=700)
    assert Fit.NOTHING is fit(0, stored=5000, candidates=300)


def test_the_parts_of_a_ranking_agree(
    shop: tuple[Library, np.ndarray[Any, Any]], indexed_pool: ConnectionPool[Any]
) -> None:
    """The first ranks by the index, the others by all prefixes: nothing twice, nothing left out."""
    library, vectors = shop
    query = vectors[-1] - 0.4 * vectors[0]
    images = Images(indexed_pool, borders=INDEXED)
    pages = [
        [hit.sign for hit in images.search(library, query, EVERY, start, 100)[0]]
        for start in range(0, 1100, 100)
    ]
    assert [100] * 10 + [0] == [len(page) for page in pages]
    assert 1000 == len({sign for page in pages for sign in page})
    assert [sign for page in pages for sign in page] == [
        hit.sign for hit in images.search(library, query, EVERY, 0, 1000)[0]
    ]
