"""The tables that candidates are found in: carried over while in use, left alone by updates."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from demo.processes import Engine
from productsearch_engine import settings
from productsearch_engine.database.pool import open_pool
from productsearch_engine.embedding import prefix_axes
from productsearch_engine.embedding.interface import Vectors
from productsearch_engine.server.background import repeating
from productsearch_engine.store import nearest_builds, tables
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.images import Images
from productsearch_engine.store.libraries import Libraries, Library
from productsearch_engine.store.nearest_builds import NearestBuilds
from productsearch_engine.store.plans import Borders
from productsearch_engine.store.statements import ClassFilter
from tests.engine.bulk_library import rows
from tests.engine.databases import connected, one_postgresql
from tests.engine.test_store import EVERY, image, library, vector

pytestmark = one_postgresql

COUNT = 40


@pytest.fixture(scope="module")
def pool(engine: Engine) -> Iterator[ConnectionPool[Any]]:
    """Connections to a database that no running engine looks after."""
    with connected(engine) as connection:
        connection.execute("create database nearest")
        dsn = f"host={connection.info.host} user=postgres dbname=nearest"
    with open_pool(settings.load({"PRODUCTSEARCH_ENGINE_DATABASE": dsn}, {}), 8) as opened:
        yield opened


def before(pool: ConnectionPool[Any], name: str, count: int = COUNT) -> tuple[Library, list[int]]:
    """Return a library as the version before left it, and the signs of its images."""
    shop = library(pool, name)
    with pool.connection() as connection:
        connection.execute(f"drop table nearest_{shop.id}")
        connection.execute(
            "update libraries set nearest_generation = null, nearest_since = null where id = %s",
            [shop.id],
        )
        connection.execute(
            f"create index images_{shop.id}_nearest on images_{shop.id}"
            " using hnsw ((embedding::halfvec(16)) halfvec_cosine_ops)"
        )
    shop = Libraries(pool).named(name)
    return shop, [Images(pool).add(shop, image(seed)) for seed in range(count)]


def prefixes(pool: ConnectionPool[Any], shop: Library) -> dict[int, list[float]]:
    """Return the table that candidates are found in."""
    return _vectors(pool, f"select sign, prefix from nearest_{shop.id}")


def wholes(pool: ConnectionPool[Any], shop: Library) -> dict[int, list[float]]:
    """Return the vectors of a library's images."""
    name = tables.images(shop.id, shop.generation).as_string(None)
    return _vectors(pool, f"select sign, embedding from {name}")


def _vectors(pool: ConnectionPool[Any], text: str) -> dict[int, list[float]]:
    with pool.connection() as connection:
        rows = connection.execute(text.encode()).fetchall()
    signs = {int(sign): list(value.to_list()) for sign, value in rows}
    assert len(signs) == len(rows)
    return signs


def classes(pool: ConnectionPool[Any], shop: Library, table: str) -> list[tuple[Any, ...]]:
    """Return the class ids that a table has of each image."""
    name = {"images": tables.images(shop.id, shop.generation), "nearest": tables.nearest(shop.id)}
    text = f"select sign, class_id1, class_id2 from {name[table].as_string(None)} order by sign"
    with pool.connection() as connection:
        return connection.execute(text.encode()).fetchall()


def updates(connection: Connection[Any], shop: Library) -> tuple[int, int]:
    """Return how many rows of prefixes were updated, and how many of them in no index."""
    connection.execute("select pg_stat_force_next_flush()")
    row = connection.execute(
        "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = %s",
        [f"nearest_{shop.id}"],
    ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def old_indexes(pool: ConnectionPool[Any], shop: Library) -> int:
    """Return how many indexes of vectors the images themselves have."""
    with pool.connection() as connection:
        return len(tables.vector_indexes(connection, tables.images(shop.id)))


def test_a_library_of_the_version_before_is_carried_over(
    pool: ConnectionPool[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It is searched all the time; its old index goes only after the time of a rolling upgrade."""
    shop, _ = before(pool, "carried-over")
    images = Images(pool, borders=Borders(exact_images=0, prefix_images=0))
    expected = images.search(shop, vector(3), EVERY, 0, 10)
    full = NearestBuilds(pool, shortage=lambda _: "the disk is full")
    for _ in range(2):
        full.look()
    assert not Libraries(pool).named("carried-over").nearest
    assert 1 == sum("the disk is full: no index" in told for told in caplog.messages)
    NearestBuilds(pool).look()
    carried = Libraries(pool).named("carried-over")
    assert (False, True) == (shop.nearest, carried.nearest)
    assert wholes(pool, shop) == prefixes(pool, shop)
    assert expected == images.search(carried, vector(3), EVERY, 0, 10)
    # An engine that has looked the library up before goes on.
    assert expected == images.search(shop, vector(3), EVERY, 0, 10)
    NearestBuilds(pool).look()
    assert 1 == old_indexes(pool, shop)
    NearestBuilds(pool, old_index_kept_s=0).look()
    assert 0 == old_indexes(pool, shop)
    assert expected == images.search(shop, vector(3), EVERY, 0, 10)


def test_nothing_is_lost_while_it_is_carried_over(
    pool: ConnectionPool[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is added and deleted by others meanwhile is in both tables, once, or in none."""
    monkeypatch.setattr(nearest_builds, "NEAREST_BATCH", 3)
    shop, signs = before(pool, "in-use")
    stopped = threading.Event()

    def write(first: int) -> None:
        for seed in range(first, first + 10_000):
            if stopped.is_set():
                return
            sign = Images(pool).add(shop, image(seed))
            if seed % 3 == 0:
                assert 1 == Images(pool).delete(shop, [sign])

    def load() -> None:
        for seed in range(10_000):
            if stopped.is_set():
                return
            assert 9 == BulkRows(pool).load(shop, list(rows(9, seed, plain=True))).added

    def forget() -> None:
        for sign in signs[::2]:
            assert 1 == Images(pool).delete(shop, [sign])

    def change() -> None:
        for class_id in range(10_000):
            if stopped.is_set():
                return
            for sign in signs[1::2]:
                assert Images(pool).update(
                    shop, [sign], brief=None, class_id1=class_id, class_id2=None
                )

    writers = [threading.Thread(target=write, args=(first,)) for first in (20_000, 40_000)]
    writers += [threading.Thread(target=work) for work in (forget, load, change)]
    for writer in writers:
        writer.start()
    try:
        while not Libraries(pool).named("in-use").nearest:
            NearestBuilds(pool).look()
    finally:
        stopped.set()
        for writer in writers:
            writer.join()
    stored = wholes(pool, shop)
    assert COUNT // 2 < len(stored)
    assert stored == prefixes(pool, shop)
    assert classes(pool, shop, "images") == classes(pool, shop, "nearest")
    assert len(stored) == Libraries(pool).named("in-use").image_count


def test_what_was_stopped_is_taken_up_again(
    pool: ConnectionPool[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between any two batches, the next engine goes on; until then nobody uses it."""
    monkeypatch.setattr(nearest_builds, "NEAREST_BATCH", 7)
    shop, _ = before(pool, "stopped")
    done = 0

    def has_done_more() -> bool:
        return len(prefixes(pool, shop)) > done

    while done < COUNT - 7:
        NearestBuilds(pool).build(shop, has_done_more)
        assert not Libraries(pool).named("stopped").nearest
        # None, if the connection of the build before has not let go of the library yet.
        assert done <= len(prefixes(pool, shop)) <= done + 7
        done = len(prefixes(pool, shop))
    NearestBuilds(pool).look()
    assert Libraries(pool).named("stopped").nearest
    assert wholes(pool, shop) == prefixes(pool, shop)


def test_a_running_engine_does_it(pool: ConnectionPool[Any]) -> None:
    """At once when it starts, in the background; a stop does not wait for the next look."""
    shop, _ = before(pool, "running")
    builds = NearestBuilds(pool)
    with repeating("completing", builds.look, 600, interrupt=builds.interrupt):
        for _ in range(3000):
            if Libraries(pool).named("running").nearest:
                break
            threading.Event().wait(0.01)
    assert wholes(pool, shop) == prefixes(pool, shop)


def test_updates_leave_the_vectors_alone(pool: ConnectionPool[Any]) -> None:
    """A brief is changed and no row of the table with the index is written; class ids, and none of
    its indexes, however often they change."""
    shop, images = library(pool, "updated"), Images(pool)
    signs = [images.add(shop, image(seed)) for seed in range(100)]
    versions = f"select sign, ctid::text, xmin::text from nearest_{shop.id} order by sign"
    with pool.connection() as connection:
        written = connection.execute(versions.encode()).fetchall()
    for sign in signs:
        assert images.update(shop, [sign], brief=b"new", class_id1=None, class_id2=None)
    with pool.connection() as connection:
        assert written == connection.execute(versions.encode()).fetchall()
    hits, _ = images.search(shop, vector(1), EVERY, 0, 10)
    assert {b"new"} == {hit.brief for hit in hits}
    # One connection: each has updates of its own that it has not told of.
    with pool.connection() as connection:
        text = f"update images_{shop.id} set class_id1 = %s, class_id2 = 8 where sign = %s"
        for class_id, sign in itertools.product(range(3), signs):
            connection.execute(text.encode(), [class_id, sign])
        assert (300, 300) == updates(connection, shop)
    assert classes(pool, shop, "images") == classes(pool, shop, "nearest")


def test_a_library_takes_its_tables_along(pool: ConnectionPool[Any]) -> None:
    """Also if the engine that deletes it is of the version before and names none of them."""
    shop = library(pool, "gone")
    with pool.connection() as connection:
        connection.execute("delete from libraries where id = %s", [shop.id])
        row = connection.execute("select to_regclass(%s)", [f"nearest_{shop.id}"]).fetchone()
        assert row == (None,)
        connection.execute(f"drop table images_{shop.id}")


@pytest.fixture(scope="module")
def turned(pool: ConnectionPool[Any]) -> Iterator[tuple[Library, Vectors]]:
    """A library whose vectors are as long as those of ``compact`` and lie near its axes."""
    axes = prefix_axes.of("compact-1")
    assert axes is not None
    random, rows = np.random.default_rng(7), axes.rows.astype(np.float32)
    scale = np.arange(1, len(rows) + 1) ** -0.5
    vectors = random.normal(size=(1200, len(rows))) * scale @ rows
    vectors += random.normal(0, 0.01, vectors.shape)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    known = Libraries(pool)
    known.create("turned", capacity=10**6, embedding="compact-1", dimensions=512, api_key=None)
    shop = known.named("turned")
    with pool.connection() as connection:
        connection.execute(
            f"insert into images_{shop.id}"
            " (library_id, sign, digest, brief, class_id1, embedding)"
            " select %s, sign - 1, int8send(sign), '', sign %% 10, embedding::halfvec"
            " from unnest(%s::text[]) with ordinality as given (embedding, sign)",
            [shop.id, [str(each.tolist()) for each in vectors]],
        )
    yield known.named("turned"), vectors
    known.delete("turned")


def test_prefixes_are_turned_to_the_axes(
    pool: ConnectionPool[Any], turned: tuple[Library, Vectors]
) -> None:
    """What PostgreSQL computes is the product with the axes that the embedding has."""
    shop, vectors = turned
    axes = prefix_axes.of("compact-1")
    assert axes is not None
    expected = vectors @ axes.rows.astype(np.float32).T
    stored = prefixes(pool, shop)
    found = np.array([stored[sign] for sign in range(len(vectors))])
    assert np.abs(found - expected).max() < 2e-3


@pytest.mark.parametrize(
    "axes",
    [pytest.param("compact-1", id="given"), pytest.param("others", id="by the trigger")],
)
def test_a_load_makes_the_same_prefixes(
    pool: ConnectionPool[Any], turned: tuple[Library, Vectors], axes: str
) -> None:
    """Whoever computes them; signs that are taken are derived anew in both tables."""
    known, name = Libraries(pool), f"loaded-{axes}"
    known.create(name, capacity=10**6, embedding="compact-1", dimensions=512, api_key=None)
    shop = known.named(name)
    with pool.connection() as connection:
        connection.execute(
            "insert into axes select 'others', number + 1, axis from axes where name = 'compact-1'"
            " on conflict do nothing"
        )
        connection.execute("update libraries set nearest_axes = %s where id = %s", [axes, shop.id])
    first, *others = rows(30, 1, 512, plain=True)
    others[0] = replace(others[0], sign=first.sign)
    assert 30 == BulkRows(pool).load(shop, [first, *others]).added
    stored, made = wholes(pool, shop), prefixes(pool, shop)
    rotation = prefix_axes.of("compact-1")
    assert rotation is not None
    assert 30 == len(stored)
    assert stored.keys() == made.keys()
    for sign, whole in stored.items():
        expected = rotation.rows.astype(np.float32) @ np.array(whole, np.float32)
        assert np.abs(expected - made[sign]).max() < 2e-3


@pytest.mark.parametrize(
    ("classes", "passing"),
    [
        (EVERY, 1200),
        (ClassFilter(class_id1=3, class_id2=None, any_class=False), 120),
        (ClassFilter(class_id1=None, class_id2=7, any_class=False), 1100),
    ],
)
def test_candidates_are_ranked_by_the_whole_vector(
    pool: ConnectionPool[Any], turned: tuple[Library, Vectors], classes: ClassFilter, passing: int
) -> None:
    """Pages agree across the border of the first ranks, cosines are exact, few are missed."""
    shop, vectors = turned
    images = Images(pool, borders=Borders(exact_images=0, prefix_images=0, rare_share=0))
    with pool.connection() as connection:
        text = f"update images_{shop.id} set class_id2 = 7 where sign < 1100"
        connection.execute(text.encode())
    query = vectors[5] + np.float32(0.01)
    exact, _ = Images(pool).search(shop, query, classes, 0, 1000)
    found, more = images.search(shop, query, classes, 0, 1000)
    assert (min(passing, 1000), False) == (len(found), more)
    assert len(exact) == len(found)
    pages = [images.search(shop, query, classes, start, 130)[0] for start in range(0, 1000, 130)]
    assert [hit.sign for hit in found] == [hit.sign for page in pages for hit in page]
    cosines = {hit.sign: hit.cosine for hit in exact}
    assert all(hit.cosine == cosines.get(hit.sign, hit.cosine) for hit in found)
    for count in (10, 300, 1000):
        right = {hit.sign for hit in exact[:count]} & {hit.sign for hit in found[:count]}
        assert len(right) >= 0.97 * min(count, passing)
