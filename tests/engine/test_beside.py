"""Commands beside each other, and beside what becomes of their library meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from demo.processes import Engine, ServerError
from productsearch_engine import settings
from productsearch_engine.bulk import indexing
from productsearch_engine.bulk.exporting import export
from productsearch_engine.bulk.importing import Importer
from productsearch_engine.bulk.source import Source
from productsearch_engine.database.pool import WatchedPool
from productsearch_engine.store import bulk_load, locks, rights
from productsearch_engine.store.bulk_index import BulkIndex
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.images import LibraryGoneError
from productsearch_engine.store.libraries import Libraries, Library, LibraryError
from productsearch_engine.store.library_settings import LibrarySettings
from productsearch_engine.store.reembeddings import BusyError, Reembeddings
from productsearch_engine.store.rows import Progress, Row
from tests.engine.bulk_library import head, library, rows, stored, write
from tests.engine.commands import ran, told_by
from tests.engine.databases import connected, dsn_of, one_postgresql

_WITHIN_S = 30.0


def load(
    pool: WatchedPool,
    to: Library,
    file: Path,
    tell: Callable[[Progress], None] = lambda _: None,
    shortage: Callable[[list[Row]], str | None] = lambda _: None,
) -> Progress:
    """Import a file of rows with vectors."""
    importer = Importer(
        BulkRows(pool), to, describer=_no_images, require=lambda: None, shortage=shortage
    )
    return importer.load(Source.of(file), tell)


def _no_images() -> Any:
    raise AssertionError("no row brings an image")


def test_what_is_stored_needs_no_room(pool: WatchedPool, tmp_path: Path) -> None:
    """On a full disk an import of duplicates goes through; one of a new row is refused."""
    to, made = library(pool), list(rows(20))
    load(pool, to, write(tmp_path / "a.ndjson", made))
    asked: list[int] = []

    def full(wanted: list[Row]) -> str:
        asked.append(len(wanted))
        return "the disk is full"

    done = load(pool, to, write(tmp_path / "b.ndjson", made + made), shortage=full)
    assert (40, 0, 40) == (done.rows_read, done.added, done.duplicates)
    new = list(rows(2, seed=1))
    with pytest.raises(LibraryError, match="the disk is full; 0 rows"):
        load(pool, to, write(tmp_path / "c.ndjson", made + new + new), shortage=full)
    assert [40, 24, 2] == asked


def test_an_index_without_room_stays(
    pool: WatchedPool, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not dropped where it could not be built again."""
    monkeypatch.setattr(indexing, "INDEX_REBUILT_ROWS_MIN", 10)
    monkeypatch.setattr(pool.watch, "shortage", lambda _: "the disk is full")
    to = library(pool)
    with indexing.indexing(_settings(engine), pool, to, rows=10):
        assert not BulkIndex(pool).is_dropped(to)


@one_postgresql
def test_an_index_of_a_library_renamed_meanwhile(pool: WatchedPool, engine: Engine) -> None:
    """It is built; that the name is another one by now ends nothing."""
    to = library(pool)
    BulkRows(pool).load(to, list(rows(50)))
    BulkIndex(pool).drop(to)
    Libraries(pool).rename(to.name, f"{to.name} renamed")
    indexing.build(_settings(engine), pool, to)
    assert not BulkIndex(pool).is_dropped(to)


@one_postgresql
def test_an_index_says_that_it_waits(
    pool: WatchedPool, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside an export it is complete only when that is over, and says so once."""
    to = library(pool)
    BulkRows(pool).load(to, list(rows(50)))
    BulkIndex(pool).drop(to)
    told = ""
    with connected(engine) as connection:
        connection.execute("begin isolation level repeatable read")
        connection.execute("select count(*) from images")
        builder = threading.Thread(target=indexing.build, args=(_settings(engine), pool, to))
        builder.start()
        ends_s = time.monotonic() + _WITHIN_S
        while "waits until" not in told and time.monotonic() < ends_s:
            time.sleep(0.1)
            told += capsys.readouterr().err
        time.sleep(1.5)  # it looks once more
        connection.execute("commit")
        builder.join()
    told += capsys.readouterr().err
    assert 1 == told.count(f"the index of '{to.name}' waits until transactions that began before")
    assert "index built" in told


def test_small_copies_switched_during_an_import(
    pool: WatchedPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row goes by what its library is set to then; a switch is no end of the library."""
    monkeypatch.setattr("productsearch_engine.bulk.importing.IMPORT_BATCH_ROWS", 10)
    to, made = library(pool, keep_images=False), [_with_copy(row) for row in rows(40)]

    def switch(done: Progress) -> None:
        if done.rows_read in (10, 30):
            LibrarySettings(pool).keep_images(to.name, done.rows_read == 10)

    with _switched_late(monkeypatch, pool, to):
        done = load(pool, to, write(tmp_path / "a.ndjson", made), switch)
    assert 40 == done.added
    assert [None] * 40 == [row.copy for row in stored(pool, to)]
    LibrarySettings(pool).keep_images(to.name, keep=True)
    late = [_with_copy(row) for row in rows(5, seed=1)]
    load(pool, to, write(tmp_path / "b.ndjson", late))
    kept = {row.digest: row.copy for row in stored(pool, to) if row.copy}
    assert {row.digest: row.copy for row in late} == kept


def _with_copy(row: Row) -> Row:
    return replace(row, copy=b"RIFF\0\0\0\0WEBP")


@contextmanager
def _switched_late(
    monkeypatch: pytest.MonkeyPatch, pool: WatchedPool, to: Library
) -> Iterator[None]:
    """Drop the small copies once between a look at the library and the load of its rows."""
    now, looks = BulkRows.now, 0

    def look(self: BulkRows, of: Library) -> Library:
        nonlocal looks
        found = now(self, of)
        looks += 1
        if looks == 3:
            assert found.keep_images
            LibrarySettings(pool).keep_images(to.name, keep=False)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(BulkRows, "now", look)
        yield


def test_an_export_of_a_library_without_copies_by_now(pool: WatchedPool, tmp_path: Path) -> None:
    """What is read is what its library has then."""
    of = library(pool)
    BulkRows(pool).load(of, list(rows(9)))
    LibrarySettings(pool).keep_images(of.name, keep=False)
    assert 9 == export(BulkRows(pool), of, tmp_path / "a.ndjson")
    assert "copy" not in (tmp_path / "a.ndjson").read_text()


def test_no_copies_for_a_library_that_is_gone(
    pool: WatchedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of copies is not made for one that is deleted at that moment."""
    to = library(pool, keep_images=False)
    Libraries(pool).delete(to.name)
    monkeypatch.setattr(Libraries, "named", lambda *_: to)
    with pytest.raises(LibraryError, match="no library"):
        LibrarySettings(pool).keep_images(to.name, keep=True)
    with pool.connection() as connection:
        row = connection.execute("select to_regclass(%s)", [f"kept_{to.id}"]).fetchone()
    assert (None,) == row


@one_postgresql
def test_a_right_that_is_lost(pool: WatchedPool) -> None:
    """Whoever loads is told before its next rows; whoever is ready is not told of a failure."""
    to = library(pool)
    with indexing.alone(pool, to) as require:
        require()
        with pool.connection() as connection:
            connection.execute(
                "select pg_terminate_backend(pid, 10000) from pg_locks"
                " where locktype = 'advisory' and objid = %s and objsubid = 2",
                [to.id],
            )
        with pytest.raises(LibraryError, match="run the same command again"):
            require()
    with rights.alone(pool, to):
        pass


@one_postgresql
def test_another_embedding_for_a_library_that_is_gone(pool: WatchedPool) -> None:
    """It is said so, whatever comes first."""
    gone, reembeddings = library(pool), Reembeddings(pool)
    reembeddings.begin(gone, "other", 8)
    Libraries(pool).delete(gone.name)
    for attempt in (
        lambda: reembeddings.left(gone),
        lambda: reembeddings.copies(gone, None, 9),
        lambda: reembeddings.begin(gone, "other", 8),
        lambda: reembeddings.sample(gone, 9),
    ):
        with pytest.raises(LibraryGoneError):
            attempt()
    with pytest.raises(LibraryError, match="or the library was deleted"):
        reembeddings.index(gone, "other", 8)


@one_postgresql
def test_a_switch_beside_a_reader(
    pool: WatchedPool, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for an export no longer than all changes do, as calls wait behind it."""
    of, reembeddings = library(pool), Reembeddings(pool)
    reembeddings.begin(of, "other", 8)
    other, waits = reembeddings.other(of), 0
    assert other
    bound = locks.bound

    def counted(connection: Any) -> None:
        nonlocal waits
        waits += 1
        bound(connection)

    monkeypatch.setattr(locks, "bound", counted)
    with connected(engine) as connection:
        connection.execute("begin")
        connection.execute(f"select count(*) from images_{of.id}".encode())
        with pytest.raises(BusyError):
            reembeddings.switch(of, other, lambda _: pytest.fail("nothing is late"), 8)
        connection.execute("commit")
    assert 1 == waits
    assert reembeddings.switch(of, other, lambda _: pytest.fail("nothing is late"), 8)


@one_postgresql
def test_a_copy_to_itself_is_refused(pool: WatchedPool, engine: Engine) -> None:
    """Whatever its server is called; the index of the vectors stays."""
    of = library(pool)
    with pytest.raises(ServerError, match="there is no copy"):
        ran(engine, "copy", of.name, "--to", f"{dsn_of(engine)} application_name=other")


@pytest.mark.slow
@one_postgresql
def test_a_copy_tells_of_a_changed_key(pool: WatchedPool, engine: Engine) -> None:
    """The key pair comes with the first copy alone."""
    of = library(pool)
    with connected(engine) as connection:
        connection.execute("create database copied_again")
    to = dsn_of(engine).replace("dbname=postgres", "dbname=copied_again")
    _, told = told_by(engine, "copy", of.name, "--to", to)
    assert "secret key" not in told
    ran(engine, "library", "rotate-key", of.name)
    _, told = told_by(engine, "copy", of.name, "--to", to)
    assert f"the secret key of {of.name} was changed since it was copied first" in told


def test_a_file_of_vectors_that_its_embedding_has_not(engine: Engine, tmp_path: Path) -> None:
    """No library is created for it."""
    wrong = head(images=1, embedding="compact-1")
    file = write(tmp_path / "a.ndjson", list(rows(1)), wrong)
    with pytest.raises(ServerError, match="a vector of compact-1 has 512 numbers, not 16"):
        ran(engine, "import", str(file), "--library", "wrong", "--create")
    assert "wrong" not in ran(engine, "library", "list")


@one_postgresql
def test_an_import_that_is_cut_off_says_how_it_goes_on(
    pool: WatchedPool, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a connection that PostgreSQL ends the cause is told, and that nothing has to be undone."""
    to, file = library(pool), write(tmp_path / "a.ndjson", list(rows(30)))

    def ended(*_: Any) -> None:
        raise psycopg.errors.AdminShutdown("terminating connection due to administrator command")

    monkeypatch.setattr(bulk_load, "load", ended)
    with pytest.raises(ServerError, match=r"somebody ended the session.*the same command goes on"):
        ran(engine, "import", str(file), "--library", to.name)
    monkeypatch.undo()
    assert "30 added" in ran(engine, "import", str(file), "--library", to.name)


def test_an_import_of_what_is_stored_keeps_the_index(
    pool: WatchedPool, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is dropped for new rows only: to build it takes minutes of a million."""
    monkeypatch.setattr(indexing, "INDEX_REBUILT_ROWS_MIN", 10)
    dropped: list[Library] = []
    monkeypatch.setattr(BulkIndex, "drop", lambda _, library: dropped.append(library))
    to, made = library(pool), list(rows(450))
    for number, (some, drops) in enumerate(((made[:150], 1), (made[:150], 1), (made, 2))):
        file = write(tmp_path / f"{number}.ndjson", some)
        ran(engine, "import", str(file), "--library", to.name)
        assert drops == len(dropped)


def _settings(engine: Engine) -> settings.Settings:
    return settings.load({}, {"data": str(engine.data)})
