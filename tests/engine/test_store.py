"""Storage below HTTP: collisions of signs, an index that is used, a database from elsewhere."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from psycopg_pool import ConnectionPool

from demo.processes import Engine
from productsearch_engine.embedding.interface import Vector
from productsearch_engine.store import signs
from productsearch_engine.store.images import (
    DuplicateError,
    Images,
    LibraryFullError,
    NewImage,
)
from productsearch_engine.store.libraries import Libraries, Library
from productsearch_engine.store.plans import Borders
from productsearch_engine.store.statements import ClassFilter
from tests.engine.databases import connected, one_postgresql

EVERY = ClassFilter(class_id1=None, class_id2=None, any_class=False)


def vector(seed: int, dimensions: int = 16) -> Vector:
    """Return a unit vector."""
    drawn = np.random.default_rng(seed).normal(size=dimensions)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


def image(seed: int) -> NewImage:
    """Return an image with a class."""
    return NewImage(
        digest=hashlib.sha256(str(seed).encode()).digest(),
        brief=str(seed).encode(),
        class_id1=seed % 100 + 1,
        class_id2=None,
        embedding=vector(seed),
    )


def library(
    pool: ConnectionPool[Any], name: str, dimensions: int = 16, capacity: int = 10**6
) -> Library:
    """Return a new library."""
    known = Libraries(pool)
    known.create(name, capacity=capacity, embedding="x", dimensions=dimensions, api_key=None)
    return next(each for each in known.list() if each.name == name)


def narrow(digest: bytes, attempt: int) -> int:
    """Derive signs that collide for every two images."""
    del digest
    return attempt


def test_colliding_images_are_both_kept(pool: ConnectionPool[Any]) -> None:
    """Different images whose signs collide get different signs; a duplicate is still told."""
    shop, images = library(pool, "colliding"), Images(pool, narrow)
    assert [0, 1, 2] == [images.add(shop, image(seed)) for seed in range(3)]
    for seed in range(3):
        with pytest.raises(DuplicateError) as duplicate:
            images.add(shop, image(seed))
        assert seed == duplicate.value.sign
    hits, _ = images.search(shop, vector(1), EVERY, 0, 10)
    assert {0: b"0", 1: b"1", 2: b"2"} == {hit.sign: hit.brief for hit in hits}


def test_colliding_images_at_once(pool: ConnectionPool[Any]) -> None:
    """Colliding images added at the same time are all kept."""
    shop, images = library(pool, "colliding-at-once"), Images(pool, narrow)
    with ThreadPoolExecutor(8) as workers:
        added = list(workers.map(lambda seed: images.add(shop, image(seed)), range(8)))
    assert list(range(8)) == sorted(added)


@contextmanager
def held_up(pool: ConnectionPool[Any], statement: str, *values: object) -> Iterator[None]:
    """Run a statement, and commit it only once another connection waits for what it locked.

    The body starts the other one's work.
    """
    with pool.connection() as connection, connection.transaction():
        connection.execute(statement, values)
        yield
        waiting = "select from pg_locks where not granted"
        while not connection.execute(waiting).rowcount:
            time.sleep(0.01)


@one_postgresql
def test_same_image_while_it_is_added(pool: ConnectionPool[Any]) -> None:
    """An add that meets the same image on its way in waits, and is told its sign."""
    shop, images, new = library(pool, "racing"), Images(pool), image(1)
    first = (
        f"insert into images_{shop.id} (library_id, sign, digest, brief, embedding)"
        " values (%s, %s, %s, '', %s::halfvec)"
    )
    values = (shop.id, 77, new.digest, str(new.embedding.tolist()))
    with ThreadPoolExecutor(1) as other:
        with held_up(pool, first, *values):
            second = other.submit(images.add, shop, new)
        with pytest.raises(DuplicateError) as duplicate:
            second.result()
    assert 77 == duplicate.value.sign


def test_last_room_while_it_is_taken(pool: ConnectionPool[Any]) -> None:
    """An add that saw the last room while another took it is refused, and stores nothing."""
    shop, images = library(pool, "last-room", capacity=1), Images(pool)
    taken = "update libraries set image_count = image_count + 1 where id = %s"
    with ThreadPoolExecutor(1) as other:
        with held_up(pool, taken, shop.id):
            second = other.submit(images.add, shop, image(1))
        with pytest.raises(LibraryFullError):
            second.result()
    assert images.find(shop, image(1).digest) is None


def test_overlapping_batches_at_once(pool: ConnectionPool[Any]) -> None:
    """Batch deletes of the same images in any order neither deadlock nor count twice."""
    shop, images = library(pool, "overlapping"), Images(pool)
    all_signs = [images.add(shop, image(seed)) for seed in range(40)]
    with ThreadPoolExecutor(8) as workers:
        deleted = workers.map(
            lambda turn: images.delete(shop, all_signs[:: 1 if turn % 2 else -1]), range(8)
        )
    assert 40 == sum(deleted)
    assert 0 == next(
        each.image_count for each in Libraries(pool).list() if each.name == "overlapping"
    )


@one_postgresql
def test_search_by_index(indexed_pool: ConnectionPool[Any]) -> None:
    """The index finds what exact search finds, page by page; a filter leaves it alone."""
    shop = replace(library(indexed_pool, "indexed"), image_count=3000)
    images = Images(indexed_pool, borders=Borders(exact_images=0, prefix_images=0))
    vectors = {sign: vector(sign) for sign in range(3000)}
    with indexed_pool.connection() as connection:
        connection.execute(
            f"insert into images_{shop.id} (library_id, sign, digest, brief, class_id1, embedding)"
            " select %s, sign, int8send(sign), '', sign %% 4 + 1, embedding::halfvec"
            " from unnest(%s::bigint[], %s::text[]) as given (sign, embedding)",
            [shop.id, list(vectors), [str(each.tolist()) for each in vectors.values()]],
        )
        connection.execute(f"analyze images_{shop.id}, nearest_{shop.id}")
    query = vector(4000)
    exact = sorted(vectors, key=lambda sign: -float(vectors[sign] @ query))

    scanned = _index_scans(indexed_pool, shop)
    whole, more = images.search(shop, query, EVERY, 0, 1000)
    assert scanned < _index_scans(indexed_pool, shop)
    assert (1000, False) == (len(whole), more)
    # Half precision and the graph cost a few of a thousand.
    assert 980 <= len(set(exact[:1000]) & {hit.sign for hit in whole})
    pages = [images.search(shop, query, EVERY, start, 100)[0] for start in range(0, 1000, 100)]
    assert [hit.sign for hit in whole] == [hit.sign for page in pages for hit in page]

    wanted = ClassFilter(class_id1=3, class_id2=None, any_class=False)
    scanned = _index_scans(indexed_pool, shop)
    found, more = images.search(shop, query, wanted, 0, 700)
    assert scanned == _index_scans(indexed_pool, shop)
    assert (700, True) == (len(found), more)
    assert all(hit.sign % 4 == 2 for hit in found)
    filtered = [sign for sign in exact if sign % 4 == 2]
    assert 698 <= len(set(filtered[:700]) & {hit.sign for hit in found})


def _index_scans(pool: ConnectionPool[Any], shop: Library) -> int:
    with pool.connection() as connection:
        connection.execute("select pg_stat_force_next_flush()")
        row = connection.execute(
            "select idx_scan from pg_stat_user_indexes where indexrelname = %s",
            [f"nearest_{shop.id}_prefix_idx"],
        ).fetchone()
    assert row is not None
    return int(row[0])


@one_postgresql
def test_equal_scores_are_ordered_by_sign(pool: ConnectionPool[Any]) -> None:
    """Images with one and the same vector come by sign, also where the window ends."""
    shop, images = library(pool, "equal"), Images(pool)
    with pool.connection() as connection:
        connection.execute(
            f"insert into images_{shop.id} (library_id, sign, digest, brief, embedding)"
            " select %s, sign, int8send(sign), '', %s::halfvec"
            " from generate_series(1200, 1, -1) as given (sign)",
            [shop.id, str(vector(1).tolist())],
        )
    pages = [images.search(shop, vector(2), EVERY, start, 250)[0] for start in range(0, 1000, 250)]
    assert list(range(1, 1001)) == [hit.sign for page in pages for hit in page]


def test_libraries_differ_in_dimensions(pool: ConnectionPool[Any]) -> None:
    """Each library has an index of its own dimensions and refuses other vectors."""
    small, large = library(pool, "small", 8), library(pool, "wide", 2000)
    images = Images(pool)
    for shop, dimensions in ((small, 8), (large, 2000)):
        new = NewImage(
            digest=b"x" * 32,
            brief=b"",
            class_id1=None,
            class_id2=None,
            embedding=vector(1, dimensions),
        )
        images.add(shop, new)
        assert 1 == len(images.search(shop, vector(1, dimensions), EVERY, 0, 1)[0])


@pytest.mark.parametrize("sign", [0, 1, -1, 2**63 - 1, -(2**63)])
def test_signs_as_text(sign: int) -> None:
    """Every sign is written as two uint32 and read back."""
    high, low = (int(part) for part in signs.to_text(sign).split(","))
    assert 0 <= high < 2**32
    assert 0 <= low < 2**32
    assert sign == signs.from_text(f" {high} , {low} ".encode())


@one_postgresql
def test_any_postgresql(engine: Engine) -> None:
    """The engine works on a database that it is given by a connection string."""
    with connected(engine) as connection:
        connection.execute("create database elsewhere")
        dsn = f"host={connection.info.host} user=postgres dbname=elsewhere"
    other = Engine(environment={"PRODUCTSEARCH_ENGINE_DATABASE": dsn})
    with other:
        other.create_library("there")
        assert "there" in other.command("library", "list")
        assert not (other.data / "postgres").exists()
    assert "there" not in engine.command("library", "list")
