"""Libraries in and out: equal on both sides, whole after an end at any point, never overfull."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool

from demo.processes import Engine, ServerError
from productsearch_engine import settings
from productsearch_engine.bulk import indexing
from productsearch_engine.bulk.embedding import Describer
from productsearch_engine.bulk.exporting import export
from productsearch_engine.bulk.fields import RowError
from productsearch_engine.bulk.importing import Importer
from productsearch_engine.bulk.source import Source
from productsearch_engine.cli import main
from productsearch_engine.database.pool import open_pool
from productsearch_engine.limits import EF_CONSTRUCTION
from productsearch_engine.store import signs
from productsearch_engine.store.bulk_index import BulkIndex
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.images import Images, LibraryFullError, NewImage
from productsearch_engine.store.libraries import Libraries, Library, LibraryError
from productsearch_engine.store.rows import Progress
from tests.engine.bulk_library import counted, library, rows, stored, write
from tests.engine.calling import Caller, signs_of
from tests.engine.commands import ran
from tests.engine.databases import connected, dsn_of, one_postgresql
from tests.engine.image_files import jpeg
from tests.engine.test_libraries import listed

Pool = ConnectionPool[Any]


def _no_images() -> Describer:
    raise AssertionError("no row brings an image")


def importer(
    pool: Pool, to: Library, rejected: Callable[[RowError], None] | None = None
) -> Importer:
    """Return an importer of rows with vectors."""
    return Importer(
        BulkRows(pool),
        to,
        describer=_no_images,
        require=lambda: None,
        shortage=lambda _: None,
        rejected=rejected,
    )


def _nothing(_: Progress) -> None:
    pass


def test_a_library_comes_back_equal(pool: Pool, tmp_path: Path) -> None:
    """Signs, digests, briefs, classes, times, vectors, copies and regions, to the last bit."""
    one, other = library(pool), library(pool)
    made = sorted(rows(300), key=lambda row: row.sign)
    BulkRows(pool).load(one, made)
    assert made == stored(pool, one)
    assert 300 == counted(pool, one)
    assert 300 == export(BulkRows(pool), Libraries(pool).named(one.name), tmp_path / "a.ndjson")
    source = Source.of(tmp_path / "a.ndjson")
    done = importer(pool, other).load(source, _nothing)
    assert (300, 300, 0, 0) == (done.rows_read, done.added, done.duplicates, done.rejected)
    assert made == stored(pool, other)
    assert 300 == counted(pool, other)
    (tmp_path / "parts").mkdir()
    export(BulkRows(pool), other, tmp_path / "parts", file_rows=100)
    assert 3 == len([*(tmp_path / "parts").iterdir()])


def test_a_head_tells_of_the_moment_of_the_rows(pool: Pool, tmp_path: Path) -> None:
    """Not of when the library was looked up: a file that tells of more images counts as cut."""
    shop, made = library(pool), list(rows(30))
    BulkRows(pool).load(shop, made)
    known = Libraries(pool).named(shop.name)
    assert 10 == Images(pool).delete(known, [row.sign for row in made[:10]])
    assert 20 == export(BulkRows(pool), known, tmp_path / "a.ndjson")
    head = Source.of(tmp_path / "a.ndjson").head
    assert head is not None
    assert 20 == head.images


def test_two_exports_do_not_write_one_file(pool: Pool, tmp_path: Path) -> None:
    """The second is refused; what a killed one has left is written over."""
    shop = library(pool)
    BulkRows(pool).load(shop, list(rows(3)))
    with (tmp_path / "a.ndjson.part").open("w") as other:
        other.write("half a line")
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(LibraryError, match=r"another export is writing .*a\.ndjson"):
            export(BulkRows(pool), shop, tmp_path / "a.ndjson")
        assert "half a line" == (tmp_path / "a.ndjson.part").read_text()
    assert 3 == export(BulkRows(pool), shop, tmp_path / "a.ndjson")
    assert ["a.ndjson"] == [each.name for each in tmp_path.iterdir()]
    assert 3 == len(list(Source.of(tmp_path / "a.ndjson").rows(0, 0)))


@pytest.mark.parametrize("ends_after", range(6))
def test_an_import_that_ended_goes_on(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends_after: int
) -> None:
    """Wherever it ended, each row is there once at the end, and counted once."""
    monkeypatch.setattr("productsearch_engine.bulk.importing.IMPORT_BATCH_ROWS", 10)
    to, made = library(pool), list(rows(45, seed=ends_after))
    source = Source.of(write(tmp_path / "a.ndjson", [*made, made[3]]))
    told = 0

    def end(_: Progress) -> None:
        nonlocal told
        if told == ends_after:
            raise KeyboardInterrupt
        told += 1

    with pytest.raises(KeyboardInterrupt):
        importer(pool, to).load(source, end)
    assert 10 * ends_after == len(stored(pool, to)) or ends_after == 5
    began: list[int] = []
    done = importer(pool, to).load(source, lambda now: began.append(now.rows_read))
    assert min(10 * ends_after, 46) == began[0]
    assert (46, 45, 1) == (done.rows_read, done.added, done.duplicates)
    assert sorted(made, key=lambda row: row.sign) == stored(pool, to)
    assert 45 == counted(pool, to)
    BulkRows(pool).forget(to, source.identity)
    again = importer(pool, to).load(source, _nothing)
    assert (46, 0, 46) == (again.rows_read, again.added, again.duplicates)


def test_a_full_library_takes_no_more(pool: Pool, tmp_path: Path) -> None:
    """The rows that there is room for, in the order of the file; the rest once it has grown."""
    to, made = library(pool, capacity=10), list(rows(25))
    source = Source.of(write(tmp_path / "a.ndjson", [made[0], *made]))
    for room in (10, 12):
        with pytest.raises(LibraryError, match=rf"is full; {room + 1} rows.*library grow"):
            importer(pool, to).load(source, _nothing)
        assert {row.sign for row in made[:room]} == {row.sign for row in stored(pool, to)}
        assert room == counted(pool, to)
        Libraries(pool).grow(to.name, 2)
    Libraries(pool).grow(to.name, 100)
    done = importer(pool, to).load(source, _nothing)
    assert (26, 25, 1) == (done.rows_read, done.added, done.duplicates)
    assert 25 == counted(pool, to) == len(stored(pool, to))


def test_adds_beside_a_load_never_overfill(pool: Pool) -> None:
    """Whoever is quicker: capacity is kept to exactly, and the count is that of the rows."""
    to = library(pool, capacity=200)
    images = Images(pool)

    def add(number: int) -> bool:
        digest = number.to_bytes(32, "big")
        vector = np.ones(16, np.float32) / 4
        new = NewImage(digest=digest, brief=b"", class_id1=None, class_id2=None, embedding=vector)
        try:
            images.add(to, new)
        except LibraryFullError:
            return False
        return True

    def load(seed: int) -> int:
        return sum(
            BulkRows(pool).load(to, list(rows(30, seed=10 * seed + part))).added
            for part in range(4)
        )

    with ThreadPoolExecutor(6) as threads:
        loaded = [threads.submit(load, seed) for seed in range(2)]
        added = sum(threads.map(add, range(120)))
        total = added + sum(each.result() for each in loaded)
    assert 200 == total == counted(pool, to) == len(stored(pool, to))


@one_postgresql
def test_a_taken_sign_is_derived_anew(pool: Pool) -> None:
    """Of two images with one sign both are stored, also if they come together."""
    to = library(pool)
    first, second, third = rows(3)
    second, third = replace(second, sign=first.sign), replace(third, sign=first.sign)
    BulkRows(pool).load(to, [first])
    assert 2 == BulkRows(pool).load(to, [second, third]).added
    found = {row.digest: row.sign for row in stored(pool, to)}
    expected = {first.digest: first.sign} | {
        each.digest: signs.derive(each.digest, 1) for each in (second, third)
    }
    assert expected == found


def test_a_wrong_row_ends_an_import_or_is_left_out(pool: Pool, tmp_path: Path) -> None:
    """The rows before it are stored; with permission all others are, and it is named."""
    to, made = library(pool), list(rows(20))
    file = write(tmp_path / "a.ndjson", made)
    lines = file.read_text().split("\n")
    lines[8] = '{"brief": 3}'
    file.write_text("\n".join(lines))
    source = Source.of(file)
    with pytest.raises(LibraryError, match=r"a\.ndjson: row 8: field digest: it is missing"):
        importer(pool, to).load(source, _nothing)
    assert 7 == len(stored(pool, to)) == counted(pool, to)
    wrong: list[RowError] = []
    done = importer(pool, to, wrong.append).load(source, _nothing)
    assert [8] == [each.row for each in wrong]
    assert (20, 19, 0, 1) == (done.rows_read, done.added, done.duplicates, done.rejected)


def test_the_index_is_dropped_and_comes_back(
    pool: Pool, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where much is loaded; after a kill the next import builds it, whatever it loads."""
    monkeypatch.setattr(indexing, "INDEX_REBUILT_ROWS_MIN", 10)
    chosen = settings.load({}, {"data": str(engine.data)})
    to = library(pool)
    index = BulkIndex(pool)
    with indexing.indexing(chosen, pool, to, rows=9):
        assert not index.is_dropped(to)
    before = _indexes(engine, to)
    assert 1 == len(before)
    with indexing.indexing(chosen, pool, to, rows=10):
        assert index.is_dropped(to)
        assert not _indexes(engine, to)
        BulkRows(pool).load(to, list(rows(50)))
    assert before == _indexes(engine, to)
    index.drop(to)  # and then it is killed
    index.drop(to)
    with indexing.indexing(chosen, pool, to, rows=1):
        assert index.is_dropped(to)
    assert not index.is_dropped(to)
    assert before == _indexes(engine, to)


@pytest.mark.parametrize(
    ("of_before", "after"),
    [
        ("reset (ef_construction)", [f"ef_construction={EF_CONSTRUCTION}"]),
        ("set (ef_construction = 40)", ["ef_construction=40"]),
    ],
)
def test_an_index_of_before_comes_back_as_new_ones_are(
    of_before: str, after: list[str], pool: Pool, engine: Engine
) -> None:
    """A load builds it with the candidates of this version, unless somebody chose others."""
    to = library(pool)
    assert [[f"ef_construction={EF_CONSTRUCTION}"]] == _options(engine, to)
    ((name, _),) = _indexes(engine, to)
    with connected(engine) as connection:
        connection.execute(f"alter index {name} {of_before}".encode())
    BulkIndex(pool).drop(to)
    BulkIndex(pool).build(to, helpers=0)
    assert [after] == _options(engine, to)


def _options(engine: Engine, of: Library) -> list[list[str] | None]:
    with connected(engine) as connection:
        return [
            row[0]
            for name, _ in _indexes(engine, of)
            for row in connection.execute(
                "select reloptions from pg_class where relname = %s", [name]
            )
        ]


@one_postgresql
def test_a_load_looks_only_at_what_it_loads(pool: Pool, engine: Engine) -> None:
    """However much of the library PostgreSQL does not know about, because all of it is new."""
    to = library(pool, keep_images=False)
    made = list(rows(2010, plain=True))
    # Whose only connection has its statistics sent before they are read.
    with open_pool(settings.load({}, {"data": str(engine.data)}), 1) as own:
        BulkRows(own).load(to, made[:2000])
        before = _rows_looked_at(own, to)
        BulkRows(own).load(to, made[1990:])
        # Those of them that are there, when they are inserted and when it is seen what is left.
        assert _rows_looked_at(own, to) - before < 200
    assert 2010 == counted(pool, to)


def _rows_looked_at(pool: Pool, of: Library) -> int:
    with pool.connection() as connection:
        connection.execute("select pg_stat_force_next_flush()")
        row = connection.execute(
            "select (select seq_tup_read from pg_stat_user_tables where relname = %(name)s)"
            " + (select sum(idx_tup_read) from pg_stat_user_indexes where relname = %(name)s)",
            {"name": f"images_{of.id}"},
        ).fetchone()
    return int(row[0]) if row else 0


@pytest.mark.parametrize(
    ("needed", "free", "helpers", "memory"),
    [
        (1 << 20, 1 << 30, 3, 128 << 20),  # a helper has 32 MB, or none comes
        (1 << 30, 2 << 30, 3, 1 << 30),
        (1 << 30, 64 << 20, 0, 1 << 30),  # the /dev/shm of a container
        (1 << 40, 1 << 40, 3, 2 << 30),  # a quarter of the machine
    ],
)
def test_an_index_is_built_with_what_the_machine_has(
    needed: int, free: int, helpers: int, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All cores, if they can share memory; nothing of a machine that is not known."""
    monkeypatch.setattr(indexing.tuning, "cores", lambda: 4)
    monkeypatch.setattr(indexing.tuning, "memory_bytes", lambda: 8 << 30)
    monkeypatch.setattr(indexing.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert (helpers, memory) == indexing.means(settings.load({}, {}), needed)
    elsewhere = settings.load({"PRODUCTSEARCH_ENGINE_DATABASE": "host=db"}, {})
    assert (0, None) == indexing.means(elsewhere, needed)


def _indexes(engine: Engine, of: Library) -> list[tuple[Any, ...]]:
    with connected(engine) as connection:
        return connection.execute(
            "select c.relname, i.indisvalid from pg_index i join pg_class c on c.oid = indexrelid"
            " join pg_am a on a.oid = c.relam join pg_class t on t.oid = i.indrelid"
            " where a.amname = 'hnsw' and (t.relname = any(%s))",
            [[f"images_{of.id}", f"nearest_{of.id}"]],
        ).fetchall()


@pytest.mark.slow
def test_images_are_embedded_as_adds_are(engine: Engine, caller: Caller, tmp_path: Path) -> None:
    """A row may bring an image file instead of a vector; what is wrong with one is told."""
    name = listed(engine, caller)["name"]
    for number in (1, 2):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(number))
    (tmp_path / "3.jpg").write_bytes(b"no image")
    sign = caller.call("add", image=jpeg(1), brief="added")["cont_sign"]
    list_of = [
        {"brief": f"nr {number}", "image": f"{number}.jpg", "class_id1": 5} for number in (1, 2, 3)
    ]
    file = tmp_path / "list.ndjson"
    lines = [json.dumps(row) + "\n" for row in [*list_of, {"brief": "", "image": "../x"}]]
    file.write_text("".join(lines))
    with pytest.raises(ServerError, match=r"row 3: field image: 3\.jpg: no JPEG, PNG or BMP"):
        engine.command("import", str(file), "--library", name)
    command = ("-m", "productsearch_engine", "import", str(file), "--library", name)
    done = subprocess.run(
        [sys.executable, *command, "--skip-wrong"],
        env=engine.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 3 == done.returncode, "rows were left out"
    assert "4 rows, 1 added, 1 duplicates, 2 rejected" in done.stdout
    found = caller.call("search", image=jpeg(2), class_id1="5")
    assert [(1, "nr 2")] == [(hit["score"], hit["brief"]) for hit in found["result"]]
    assert sign in signs_of(caller.call("search", image=jpeg(1)))


@pytest.mark.slow
@one_postgresql
def test_copy_to_another_database(engine: Engine, caller: Caller) -> None:
    """The library is there with its key pair; repeated, what was there is counted."""
    name = listed(engine, caller)["name"]
    for seed in range(3):
        caller.call("add", image=jpeg(seed), brief=f"nr {seed}")
    with connected(engine) as connection:
        connection.execute("create database copied")
    dsn = make_conninfo(dsn_of(engine), dbname="copied")
    assert "3 images, 3 added" in engine.command("copy", name, "--to", dsn)
    caller.call("add", image=jpeg(3), brief="nr 3")
    assert "4 images, 1 added, 3 were there" in engine.command("copy", name, "--to", dsn)
    environment = {"PRODUCTSEARCH_ENGINE_DATABASE": dsn}
    environment["PRODUCTSEARCH_ENGINE_SIGNING_KEY_FILE"] = str(engine.data / "signing.key")
    with Engine(environment=environment) as second:
        moved = Caller(second.url, caller.api_key, caller.secret_key)
        for seed in range(4):
            answers = [each.call("search", image=jpeg(seed)) for each in (caller, moved)]
            assert answers[0]["result"] == answers[1]["result"]
        moved.close()
    with pytest.raises(ServerError, match="has a password"):
        engine.command("copy", name, "--to", f"{dsn} password=secret")


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("host=127.0.0.1 port=1 dbname=x", "127.0.0.1 port 1 database x: nothing accepts"),
        ("host=/nowhere dbname=x", "/nowhere port 5432 database x: no server has its socket"),
        ("no dsn", "--to: is no libpq connection string"),
    ],
)
def test_a_target_that_cannot_be_reached(engine: Engine, pool: Pool, to: str, said: str) -> None:
    """Its own place is told, and the option that named it."""
    with pytest.raises(ServerError) as caught:
        ran(engine, "copy", library(pool).name, "--to", to)
    told = str(caught.value)
    assert said in told
    assert "--to" in told
    assert "DATABASE" not in told


@one_postgresql
def test_vectors_of_another_embedding_are_refused(
    engine: Engine, pool: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They mean nothing in this library; the way to change them is told."""
    file = write(tmp_path / "a.ndjson", list(rows(1)))
    to = library(pool, dimensions=8)
    options = ["--library", to.name, "--data", str(engine.data)]
    assert 1 == main(["import", str(file), *options])
    assert "vectors of classic-1 (16 numbers)" in capsys.readouterr().err
    assert 1 == main(["import", str(tmp_path / "b"), *options])
    assert "No such file" in capsys.readouterr().err
