"""The second table of a library below the command line: its index, its switch, what is refused."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from demo.processes import Engine, ServerError
from productsearch_engine import settings
from productsearch_engine.database.disk import Disk
from productsearch_engine.database.pool import WatchedPool, open_pool
from productsearch_engine.database.watch import Watch
from productsearch_engine.embedding.interface import Box, Description, Embedding, Pixels, Vectors
from productsearch_engine.images.small_copy import kept_image
from productsearch_engine.pasteable import pasteable
from productsearch_engine.reembed.change import Change
from productsearch_engine.reembed.room import Room
from productsearch_engine.server.background import repeating
from productsearch_engine.store import nearest_builds, tables
from productsearch_engine.store.images import Images, NewImage
from productsearch_engine.store.libraries import Calibration, Libraries, Library, LibraryError
from productsearch_engine.store.library_settings import LibrarySettings
from productsearch_engine.store.nearest_builds import NearestBuilds
from productsearch_engine.store.plans import Borders
from productsearch_engine.store.reembeddings import Other, Reembeddings
from productsearch_engine.store.rights import alone
from productsearch_engine.store.second_rows import Copy
from productsearch_engine.store.second_search import SecondSearch
from productsearch_engine.store.statements import ClassFilter
from tests.engine.commands import ran
from tests.engine.databases import connected

BEFORE, AFTER = 4, 8
COPY = kept_image(np.full((40, 40, 3), 128, np.uint8))


class Eight(Embedding):
    """An embedding of eight numbers that remembers the regions it was given."""

    def __init__(self, name: str = "eight-1") -> None:
        self.regions: list[Box | None] = []
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def dimensions(self) -> int:
        return AFTER

    def describe(
        self, images: Sequence[Pixels], regions: Sequence[Box | None] | None = None
    ) -> list[Description]:
        self.regions += regions or [None] * len(images)
        return [Description(np.full(AFTER, AFTER**-0.5, np.float32), None) for _ in images]


@pytest.fixture(scope="module")
def pool(engine: Engine) -> Iterator[WatchedPool]:
    """Connections to the engine's database, as the engine itself has them."""
    with open_pool(settings.load({}, {"data": str(engine.data)}), 6) as opened:
        yield opened


def library(pool: WatchedPool, name: str, images: int, region: Box | None = None) -> Library:
    """Return a new library with images that are no images."""
    known = Libraries(pool)
    known.create(name, capacity=10**6, embedding="four-1", dimensions=BEFORE, api_key=None)
    made = known.named(name)
    add(pool, made, range(images), region)
    return known.named(name)


def add(pool: WatchedPool, to: Library, seeds: Sequence[int], region: Box | None = None) -> None:
    for seed in seeds:
        vector = np.random.default_rng(seed).normal(size=BEFORE).astype(np.float32)
        new = NewImage(
            digest=digest(seed),
            brief=b"",
            class_id1=None,
            class_id2=None,
            embedding=vector,
            kept=COPY,
            region=region,
        )
        Images(pool).add(to, new)


def command(*words: str) -> str:
    return " ".join(words)


def digest(seed: int) -> bytes:
    return hashlib.sha256(str(seed).encode()).digest()


def filled(pool: WatchedPool, of: Library, to: Eight | None = None) -> tuple[Change, Other]:
    """Give a library a complete second table."""
    change = Change(Reembeddings(pool), of, to or Eight(), Room(lambda _: None), command)
    other = change.begin()
    change.fill()
    return change, other


def second(of: Library) -> str:
    return tables.reembedding(of.id).as_string(None).strip('"')


def count(pool: WatchedPool, statement: str, *values: Any) -> int:
    with pool.connection() as connection:
        row = connection.execute(statement.encode(), values).fetchone()
    return int(row[0]) if row else 0


def indexes(pool: WatchedPool, of: Library, valid: bool) -> int:
    return count(
        pool,
        "select count(*) from pg_index i join pg_class c on c.oid = i.indexrelid"
        " join pg_am a on a.oid = c.relam"
        f" where i.indrelid = '{second(of)}_nearest'::regclass and a.amname = 'hnsw'"
        " and i.indisvalid = %s",
        valid,
    )


def unmatched(pool: WatchedPool, images: str, nearest: str) -> list[int]:
    """Return how many images have a prefix and class ids beside it, and how many images or prefixes
    have no counterpart."""
    joined = (
        f"from {images} i full join {nearest} n on n.sign = i.sign and n.prefix = i.embedding"
        " and (n.class_id1, n.class_id2) is not distinct from (i.class_id1, i.class_id2)"
    )
    return [
        count(pool, f"select count(*) {joined} where {condition}")
        for condition in (
            "n.sign is not null and i.sign is not null",
            "n.sign is null or i.sign is null",
        )
    ]


def classify(pool: WatchedPool, of: Library, number: int, class_id: int) -> None:
    """Give an image class ids."""
    changed = {"brief": None, "class_id1": class_id, "class_id2": class_id + 1}
    assert Images(pool).update(of, digest(number), **changed)


def embedded(copies: Sequence[Copy]) -> Vectors:
    return Eight().embed([np.zeros((2, 2, 3), np.uint8)] * len(copies))


def test_nobody_waits_for_the_index(engine: Engine, pool: WatchedPool) -> None:
    """While the index is built, here for as long as a writer holds it up, deletes go through."""
    shop = library(pool, "indexed-anew", 5)
    stored = Reembeddings(pool)
    stored.begin(shop, "eight-1", AFTER)
    signs = [copy.sign for copy in stored.copies(shop, None, 9)]
    stored.store(shop, "eight-1", signs, embedded(stored.copies(shop, None, 9)))
    with connected(engine) as writer:
        writer.execute("begin")
        writer.execute(
            f"update {second(shop)}_nearest set prefix = prefix where sign = %s", [signs[0]]
        )
        building = threading.Thread(target=stored.index, args=(shop, "eight-1", AFTER))
        building.start()
        waiting = (
            "select count(*) from pg_stat_activity"
            " where query like 'create index%%' and wait_event_type = 'Lock'"
        )
        wait(lambda: count(pool, waiting) > 0)
        assert 1 == Images(pool).delete(shop, [signs[1]])
        assert building.is_alive()
        writer.execute("commit")
        building.join(30)
    assert (1, 0) == (indexes(pool, shop, True), indexes(pool, shop, False))


def test_a_build_gives_its_connection_back(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """It is as it was: open, with the settings of before, and without a lock."""
    chosen = settings.load({}, {"data": str(engine.data)})
    with open_pool(chosen, 1) as one:
        shop = library(one, "given-back", 2)
        before = _state(one)
        with nearest_builds.building(one) as connection:
            row = connection.execute("show maintenance_work_mem").fetchone()
            assert ("512MB",) == row
        NearestBuilds(one).build(shop, lambda: False)
        assert before == _state(one)
    assert [] == [each for each in caplog.records if each.levelno >= logging.WARNING]


def _state(pool: WatchedPool) -> tuple[Any, ...]:
    """The server process of a pool's only connection, its limit, its own settings, its locks."""
    with pool.connection() as connection:
        (process,) = connection.execute("select pg_backend_pid()").fetchone() or (0,)
        changed = connection.execute(
            "select name, setting from pg_settings where source = 'session' order by name"
        ).fetchall()
        locks = connection.execute(
            "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
        ).fetchone()
        return process, connection.limit_s, changed, locks


def test_an_index_that_was_left_half_made_is_made_again(engine: Engine, pool: WatchedPool) -> None:
    """A build that ended in the middle leaves an index that is never used: it is replaced."""
    shop = library(pool, "halfmade", 5)
    stored = Reembeddings(pool)
    stored.begin(shop, "eight-1", AFTER)
    copies = stored.copies(shop, None, 9)
    stored.store(shop, "eight-1", [copy.sign for copy in copies], embedded(copies))
    with connected(engine) as writer, connected(engine) as killed:
        writer.execute("begin")
        writer.execute(f"update {second(shop)}_nearest set prefix = prefix")
        killed.execute("set statement_timeout = '300ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            tables.complete_nearest(killed, tables.reembedding_nearest(shop.id))
        writer.execute("rollback")
    assert (0, 1) == (indexes(pool, shop, True), indexes(pool, shop, False))
    stored.index(shop, "eight-1", AFTER)
    assert (1, 0) == (indexes(pool, shop, True), indexes(pool, shop, False))


def test_the_switch_reads_no_rows(engine: Engine, pool: WatchedPool) -> None:
    """However many images there are, none is read while calls wait, but those added last."""
    shop = library(pool, "large", 300)
    _, other = filled(pool, shop)
    add(pool, shop, range(1000, 1002))
    names = [f"images_{shop.id}", f"reembedding_{shop.id}", f"kept_{shop.id}"]

    def read() -> int:
        with connected(engine) as connection:
            row = connection.execute(
                "select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))"
                " from pg_stat_all_tables where relid = any(%s)",
                [oids],
            ).fetchone()
        assert row
        return int(row[0])

    oids = [count(pool, f"select '{name}'::regclass::oid") for name in names]
    chosen = settings.load({}, {"data": str(engine.data)})
    before = read()
    with open_pool(chosen, 1) as own:
        assert Reembeddings(own).switch(shop, other, embedded, 8)
    time.sleep(0.2)  # a session tells what it read when it ends
    assert read() - before < 100
    assert 302 == count(pool, f"select count(*) from images_{shop.id}_1")


def test_images_added_late_are_not_lost(pool: WatchedPool) -> None:
    """More late images than the switch may embed: nothing changes; then each of them is there."""
    shop = library(pool, "late", 4)
    _, other = filled(pool, shop)
    add(pool, shop, range(100, 103))
    stored = Reembeddings(pool)
    Images(pool).delete(shop, digest(101))
    for number in (0, 1, 100):
        classify(pool, shop, number, 7)
    assert not stored.switch(shop, other, embedded, 1)
    assert "four-1" == Libraries(pool).named("late").embedding
    assert stored.switch(shop, other, embedded, 2)
    assert "eight-1" == Libraries(pool).named("late").embedding
    assert 6 == count(pool, f"select count(*) from images_{shop.id}_1")
    assert [6, 0] == unmatched(pool, f"images_{shop.id}_1", f"nearest_{shop.id}")
    assert [6, 0] == unmatched(pool, second(shop), f"{second(shop)}_nearest")
    classify(pool, Libraries(pool).named("late"), 2, 8)
    Images(pool).delete(Libraries(pool).named("late"), digest(0))
    assert [5, 0] == unmatched(pool, f"images_{shop.id}_1", f"nearest_{shop.id}")
    assert [5, 0] == unmatched(pool, second(shop), f"{second(shop)}_nearest")
    assert 0 == count(pool, "select count(*) from late_images where library_id = %s", shop.id)


def test_the_second_embedding_is_searched_by_prefixes(pool: WatchedPool) -> None:
    """A large library finds candidates by them, a small one and a filter compare every image."""
    shop = library(pool, "second-search", 30)
    change, other = filled(pool, shop)
    change.switch(other)
    switched = Libraries(pool).named("second-search")
    before = Reembeddings(pool).other(switched)
    assert before is not None
    assert ("four-1", True) == (before.embedding, before.has_nearest)
    everything = ClassFilter(class_id1=None, class_id2=None, any_class=False)
    query = np.random.default_rng(3).normal(size=BEFORE).astype(np.float32)

    def found(borders: Borders, classes: ClassFilter = everything) -> list[tuple[int, float]]:
        searching = SecondSearch(pool, borders)
        hits = searching.hits(switched, before, query, classes, digest(3), 40)
        assert [hit.sign for hit in hits if hit.same] in ([hits[0].sign], [])
        return [(hit.sign, hit.cosine) for hit in hits]

    large, small = Borders(exact_images=0, prefix_images=0), Borders()
    exact = found(small)
    assert (30, exact) == (len(exact), found(large))
    with pool.connection() as connection:
        connection.execute(
            f"delete from {second(shop)}_nearest where sign = %s".encode(), [exact[0][0]]
        )
        connection.execute(f"update {second(shop)} set class_id1 = 1".encode())
    assert (exact, exact[1:]) == (found(small), found(large))
    assert exact == found(large, replace(everything, class_id1=1))


def test_another_embedding_looks_at_the_same_region(pool: WatchedPool) -> None:
    """The region of an add is kept with the copy, and given to the new embedding."""
    region = Box(0.25, 0.0, 0.5, 1.0)
    shop = library(pool, "regions", 1, region)
    add(pool, shop, [1])
    eight = Eight()
    filled(pool, shop, eight)
    assert {region, None} == {*eight.regions}


def test_vectors_of_a_discarded_change_are_refused(pool: WatchedPool) -> None:
    """A process that goes on after its second table was discarded mixes nothing into the next."""
    shop = library(pool, "mixed", 3)
    stored = Reembeddings(pool)
    stored.begin(shop, "eight-1", AFTER)
    copies = stored.copies(shop, None, 9)
    signs = [copy.sign for copy in copies]
    stored.discard(shop)
    stored.begin(shop, "other-1", AFTER)
    with pytest.raises(LibraryError, match="was discarded"):
        stored.store(shop, "eight-1", signs, embedded(copies))
    with pytest.raises(LibraryError, match="was discarded"):
        stored.switch(shop, Other("eight-1", AFTER, None), embedded, 8)
    assert 0 == count(pool, f"select count(*) from {second(shop)}")


def test_a_running_engine_drops_old_vectors(pool: WatchedPool) -> None:
    """A day after the switch they go, unless a reembed is at work on them."""
    shop = library(pool, "dropped", 2)
    change, other = filled(pool, shop)
    change.switch(other)
    stored = Reembeddings(pool)
    there = "select (to_regclass(%s) is not null)::int"

    with repeating("dropping", lambda _: stored.drop_old(), 0.05):
        with alone(pool, shop):
            with pool.connection() as connection:
                connection.execute(
                    "update reembeddings set served_until = now() - interval '25 hours'"
                    " where library_id = %s",
                    [shop.id],
                )
            time.sleep(0.3)
            assert 1 == count(pool, there, second(shop))
        wait(lambda: not count(pool, there, second(shop)))
    assert 0 == count(pool, "select count(*) from reembeddings where library_id = %s", shop.id)


def test_a_full_disk_stops_it(pool: WatchedPool, tmp_path: Path) -> None:
    """It ends with a sentence before the disk is full, and goes on when there is room."""
    shop = library(pool, "full", 40)
    looks = iter([None, None, "the disk is full"])
    change = Change(Reembeddings(pool), shop, Eight(), Room(lambda _: next(looks)), command)
    change.begin()
    with pytest.raises(LibraryError, match="disk is full"):
        change.fill()
    assert 32 == count(pool, f"select count(*) from {second(shop)}")
    filled(pool, shop)
    assert 40 == count(pool, f"select count(*) from {second(shop)}")
    watch = Watch("", Disk(tmp_path))
    with pytest.raises(LibraryError, match=r"about \d{6,} MiB more are needed, and the"):
        Room(watch.shortage).require(10**12, AFTER)


def test_a_calibration_belongs_to_its_embedding(pool: WatchedPool) -> None:
    """A calibration that was fitted for another embedding than the library's is refused."""
    shop = library(pool, "scores", 1)
    fitted = Calibration((0.0, 1.0), (0.1, 0.9))
    with pytest.raises(LibraryError, match="four-1 by now"):
        LibrarySettings(pool).calibrate("scores", "four-2", fitted)
    assert Libraries(pool).named("scores").calibration is None
    LibrarySettings(pool).calibrate("scores", shop.embedding, fitted)
    assert fitted == Libraries(pool).named("scores").calibration


def test_pins_without_their_images_are_refused_first(engine: Engine, tmp_path: Path) -> None:
    """Before the database is asked for a library; the sentence says what the paths are relative
    to."""
    pin = {"protocol": "any", "query": "gone.jpg", "find": "1.jpg", "digest": "00"}
    file = tmp_path / "pins.json"
    file.write_text(json.dumps({"pins": [pin, pin]}))
    with pytest.raises(ServerError, match=r"2 of 2 .*gone\.jpg: paths .* relative to its folder"):
        ran(engine, "reembed", "none", "--embedding", "classic", "--pins", str(file))


def test_a_command_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the program as it was started, and the data unless they are the usual ones."""
    monkeypatch.setattr("sys.argv", [".venv/bin/productsearch-engine", "reembed"])
    usual = settings.load({}, {})
    named = settings.load({}, {"data": "my data"})
    elsewhere = settings.load({"PRODUCTSEARCH_ENGINE_DATABASE": "dbname=x password=y"}, {})
    words = ("reembed", "a shop", "--embedding", "compact-1")
    plain = ".venv/bin/productsearch-engine reembed 'a shop' --embedding compact-1"
    assert plain == pasteable(usual, *words) == pasteable(elsewhere, *words)
    assert f"{plain} --data 'my data'" == pasteable(named, *words)
    monkeypatch.setattr("sys.argv", [str(tmp_path / "__main__.py")])
    assert f"{sys.executable} -m productsearch_engine reembed" == pasteable(usual, "reembed")


def wait(reached: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not reached() and time.monotonic() < ends:
        time.sleep(0.02)
    assert reached()
