"""Large classes that are searched often have an index of their own, and answers stay the same."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from psycopg_pool import ConnectionPool

from demo.processes import Engine
from productsearch_engine import settings
from productsearch_engine.database.pool import open_pool
from productsearch_engine.limits import EF_CONSTRUCTION, WINDOW
from productsearch_engine.store import search_statements
from productsearch_engine.store.class_indexes import Bounds, ClassIndexes
from productsearch_engine.store.images import Images, half
from productsearch_engine.store.libraries import Libraries, Library
from productsearch_engine.store.nearest_builds import NearestBuilds
from productsearch_engine.store.plans import Borders, Plan
from tests.engine.databases import connected, one_postgresql
from tests.engine.test_plans import DIMENSIONS, Classes, Vectors, filled, nearest, only

pytestmark = one_postgresql

BOUNDS = Bounds(library=0, large=400, searches=3, count_max=1, share=0.9, unused_s=3600)
LARGE, SMALL = 1200, 300


@pytest.fixture(scope="module")
def pool(engine: Engine) -> Iterator[ConnectionPool[Any]]:
    """Connections to a database that no running engine looks after."""
    with connected(engine) as connection:
        connection.execute("create database class_indexes")
        dsn = f"host={connection.info.host} user=postgres dbname=class_indexes"
    with open_pool(settings.load({"PRODUCTSEARCH_ENGINE_DATABASE": dsn}, {}), 4) as opened:
        yield opened


@pytest.fixture
def shop(pool: ConnectionPool[Any]) -> Iterator[tuple[Library, Vectors, Classes]]:
    """A library whose class 1 has 1,200 images and class 2 has 300; the second ids are mixed."""
    vectors = np.random.default_rng(4).normal(size=(LARGE + SMALL, DIMENSIONS)).astype(np.float16)
    classes: Classes = [(1 if n < LARGE else 2, n % 2 + 1) for n in range(LARGE + SMALL)]
    with filled(pool, vectors.astype(np.float32), classes) as made:
        with pool.connection() as connection:
            text = "update libraries set image_count = %s where id = %s"
            connection.execute(text, [len(vectors), made.id])
        yield Libraries(pool).named(made.name), vectors.astype(np.float32), classes


def predicates(pool: ConnectionPool[Any], library: Library) -> list[str]:
    """Return the classes that have an index, as PostgreSQL writes them."""
    with pool.connection() as connection:
        rows = connection.execute(
            "select pg_get_expr(indpred, indrelid) from pg_index"
            " where indrelid = to_regclass(%s) and indisvalid and indpred is not null order by 1",
            [f"nearest_{library.id}"],
        ).fetchall()
    return [row[0] for row in rows]


class Shopper:
    """Searches a library of one engine, and lets that engine look after its tables."""

    def __init__(self, pool: ConnectionPool[Any], caplog: pytest.LogCaptureFixture):
        self.indexes = ClassIndexes(BOUNDS)
        self.images = Images(
            pool, borders=Borders(exact_images=0, prefix_images=0), class_indexes=self.indexes
        )
        self._builds = NearestBuilds(pool, class_indexes=self.indexes)
        self._caplog = caplog
        caplog.set_level(logging.DEBUG, "productsearch_engine.store")

    def plan(self, library: Library, query: Vectors, first: int | None, second: int | None) -> str:
        """Search once, and return the plan that was logged."""
        self._caplog.clear()
        self.images.search(library, query, only(first, second), 0, 5)
        return self._caplog.records[-1].getMessage().rpartition(": ")[2]

    def look(self) -> str:
        """Look after the tables, and return what was logged."""
        self._caplog.clear()
        self._builds.look()
        return "\n".join(record.getMessage() for record in self._caplog.records)


@pytest.mark.parametrize(
    ("images", "searches", "indexed", "expected"),
    [
        (400, 3, [], True),
        (399, 3, [], False),
        (400, 2, [], False),
        (400, 3, [400], False),  # no more than one
        (900, 3, [], True),  # nine tenths of the library
        (901, 3, [], False),
    ],
)
def test_which_classes_get_an_index(
    images: int, searches: int, indexed: list[int], expected: bool
) -> None:
    """Both sides of each bound."""
    assert expected == BOUNDS.takes(images, searches, 1000, indexed)


def test_which_libraries_have_indexes_of_classes() -> None:
    """Those that all prefixes of take long; both sides of the border."""
    assert not Bounds().has_any(150_000)
    assert Bounds().has_any(150_001)
    assert not Bounds().takes(100_000, 30, 150_000, [])
    assert Bounds().takes(25_000, 30, 150_001, [])
    assert not Bounds().takes(24_999, 30, 150_001, [])


@pytest.mark.parametrize(
    ("images", "unused_s", "expected"),
    [(200, 3600, False), (199, 0, True), (200, 3601, True)],
)
def test_which_indexes_are_dropped(images: int, unused_s: float, expected: bool) -> None:
    """A class that became small, or that nobody searches any more."""
    assert expected == BOUNDS.drops(images, unused_s)


def test_an_index_comes_and_goes(
    pool: ConnectionPool[Any],
    shop: tuple[Library, Vectors, Classes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With the searches, and with the size of the class; each decision is logged."""
    library, vectors, _ = shop
    shopper, query = Shopper(pool, caplog), vectors[3]
    for _ in range(2):
        assert Plan.PREFIXES.value == shopper.plan(library, query, 1, None)
    assert "1200 images, 2 searches: gets no index" in shopper.look()
    assert [] == predicates(pool, library)
    shopper.plan(library, query, 1, None)  # and one of before
    shopper.plan(library, query, 1, 2)  # each class of a filter counts
    for _ in range(2):
        shopper.plan(library, query, 2, None)  # too small
    assert "1200 images, 3 searches: gets an index" in shopper.look()
    assert ["(class_id1 = 1)"] == predicates(pool, library)
    assert Plan.CLASS_INDEX.value == shopper.plan(library, query, 1, None)
    assert Plan.PREFIXES.value == shopper.plan(library, query, 1, 1)
    # Another engine sees it too.
    assert Plan.CLASS_INDEX.value == Shopper(pool, caplog).plan(library, query, 1, None)
    shopper.look()
    assert ["(class_id1 = 1)"] == predicates(pool, library)
    shrink = f"update images_{library.id} set class_id1 = 2 where class_id1 = 1 and sign >= %s"
    with pool.connection() as connection:
        connection.execute(shrink.encode(), [BOUNDS.large // 2])
    shopper.look()
    assert ["(class_id1 = 1)"] == predicates(pool, library)
    with pool.connection() as connection:
        connection.execute(shrink.encode(), [BOUNDS.large // 2 - 1])
    assert "dropped" in shopper.look()
    assert [] == predicates(pool, library)


def test_answers_with_an_index(
    pool: ConnectionPool[Any],
    shop: tuple[Library, Vectors, Classes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The window is filled, its pages agree, few are missed, and what changes is seen."""
    library, vectors, classes = shop
    shopper, query = Shopper(pool, caplog), vectors[3] + 0.1
    for _ in range(3):
        shopper.plan(library, query, 1, None)
    shopper.look()
    assert Plan.CLASS_INDEX.value == shopper.plan(library, query, 1, None)
    search = shopper.images.search
    whole, more = search(library, query, only(1), 0, WINDOW)
    assert (WINDOW, False) == (len(whole), more)
    pages = [search(library, query, only(1), start, 90)[0] for start in range(0, 1080, 90)]
    assert [hit.sign for hit in whole] == [hit.sign for page in pages for hit in page]
    exact = nearest(vectors, query, classes, only(1))[:WINDOW]
    assert 0.98 * WINDOW <= len({hit.sign for hit in whole} & set(exact))
    first, other = whole[0].sign, LARGE
    assert shopper.images.update(library, [first], brief=None, class_id1=2, class_id2=None)
    assert shopper.images.update(library, [other], brief=None, class_id1=1, class_id2=None)
    signs = {hit.sign for hit in search(library, vectors[other], only(1), 0, 10)[0]}
    assert other in signs
    assert first not in {hit.sign for hit in search(library, query, only(1), 0, WINDOW)[0]}
    # Dropped by somebody: an engine that does not know it yet still answers in full.
    with pool.connection() as connection:
        connection.execute(f"drop index nearest_{library.id}_prefix_idx1".encode())
    assert Plan.CLASS_INDEX.value == shopper.plan(library, query, 1, None)
    assert WINDOW == len(search(library, query, only(1), 0, WINDOW)[0])


def test_postgresql_uses_the_index_of_the_class(
    pool: ConnectionPool[Any],
    shop: tuple[Library, Vectors, Classes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of all indexes of vectors the one of the class, without a filter."""
    library, vectors, _ = shop
    shopper = Shopper(pool, caplog)
    for _ in range(3):
        shopper.plan(library, vectors[0], 1, None)
    shopper.look()
    values = {"embedding": half(vectors[0]), "digest": b"", "start": 0, "count": 10}
    values |= {"candidates": 700, "class_id1": 1, "stored": 10}
    text = b"explain " + search_statements.search(library, only(1), Plan.CLASS_INDEX)
    with pool.connection() as connection:
        for _ in range(8):  # also once it is prepared
            lines = "\n".join(str(row[0]) for row in connection.execute(text, values))
            assert f"using nearest_{library.id}_prefix_idx1" in lines
            assert "Filter: (class_id1" not in lines
        options = connection.execute(
            "select reloptions from pg_class where relname = %s",
            [f"nearest_{library.id}_prefix_idx1"],
        )
        assert ([f"ef_construction={EF_CONSTRUCTION}"],) == options.fetchone()


def test_a_build_that_was_killed(
    pool: ConnectionPool[Any],
    shop: tuple[Library, Vectors, Classes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What it left is dropped, and no search uses it; while an import builds, nobody else does."""
    library, vectors, _ = shop
    shopper = Shopper(pool, caplog)
    with pool.connection() as connection:
        connection.execute(
            f"create index killed on nearest_{library.id} using hnsw (prefix halfvec_cosine_ops)"
            " where class_id1 = 1".encode()
        )
        connection.execute(
            "update pg_index set indisvalid = false where indexrelid = 'killed'::regclass"
        )
        connection.execute("insert into dropped_indexes values (%s, 'x')", [library.id])
    for _ in range(3):
        assert Plan.PREFIXES.value == shopper.plan(library, vectors[0], 1, None)
    assert "" == shopper.look()
    with pool.connection() as connection:
        connection.execute("delete from dropped_indexes")
    assert "dropped" in shopper.look()
    assert ["(class_id1 = 1)"] == predicates(pool, library)
    with pool.connection() as connection:
        assert (None,) == connection.execute("select to_regclass('killed')").fetchone()
