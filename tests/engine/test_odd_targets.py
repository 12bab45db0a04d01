"""Exports and copies to places that are none: nothing is written anywhere else instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partialmethod
from pathlib import Path
from typing import NoReturn

import pytest
from psycopg.conninfo import make_conninfo

from demo.processes import Engine, ServerError
from productsearch_engine import settings
from productsearch_engine.bulk import exporting
from productsearch_engine.bulk.lines import line
from productsearch_engine.database.pool import WatchedPool, open_pool
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.libraries import Calibration, Libraries, LibraryError
from productsearch_engine.store.library_settings import LibrarySettings
from productsearch_engine.store.quotas import Quota, Quotas
from productsearch_engine.store.rows import Row
from tests.engine.bulk_library import library, rows
from tests.engine.commands import ran
from tests.engine.databases import connected, dsn_of, one_postgresql


@pytest.mark.parametrize(
    "command",
    [
        ("export", "shop", "--to", ""),
        ("export", "shop", "--to", "none/"),
        ("import", "", "--library", "shop"),
        ("import", "none/", "--library", "shop"),
        ("copy", "shop", "--to", ""),
        ("copy", "shop", "--to", " "),
        ("copy", "shop", "--to", "dbname=x", "--name", ""),
    ],
)
def test_an_argument_without_a_value(
    command: tuple[str, ...], engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is wrong usage, and neither the current folder nor the default database."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ServerError, match=r"(?s)status 2: .*(must be|no such folder|a library's name is)"
    ):
        ran(engine, *command)
    assert not [*tmp_path.iterdir()]


def test_a_link_that_leads_nowhere(pool: WatchedPool, tmp_path: Path) -> None:
    """It stays: neither it nor what it names is written."""
    (tmp_path / "a.ndjson").symlink_to("b.ndjson")
    with pytest.raises(LibraryError, match=r"a\.ndjson is a link that leads nowhere"):
        exporting.export(BulkRows(pool), library(pool), tmp_path / "a.ndjson")
    assert [tmp_path / "a.ndjson"] == [*tmp_path.iterdir()]
    assert (tmp_path / "a.ndjson").is_symlink()


@pytest.mark.parametrize("name", ["a.ndjson", "folder/00000.ndjson"])
def test_a_file_that_somebody_makes_meanwhile(
    name: str, pool: WatchedPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not written over, however long the export took."""
    shop, file = library(pool), tmp_path / name
    file.parent.mkdir(exist_ok=True)
    BulkRows(pool).load(shop, list(rows(3)))

    def slow(row: Row) -> str:
        file.write_text("theirs")
        return line(row)

    monkeypatch.setattr(exporting, "line", slow)
    with pytest.raises(LibraryError, match="is there already"):
        exporting.export(BulkRows(pool), shop, file if file.parent == tmp_path else file.parent)
    assert "theirs" == file.read_text()
    assert [file] == [each for each in tmp_path.rglob("*") if each.is_file()]


@one_postgresql
def test_a_copy_to_where_its_key_pair_is(engine: Engine, pool: WatchedPool) -> None:
    """It is refused under another name, in the same database and in one that has a copy."""
    shop = library(pool)
    BulkRows(pool).load(shop, list(rows(3)))
    for name in (shop.name, "another"):
        with pytest.raises(ServerError, match=f"--to is the database that '{shop.name}' is in"):
            ran(engine, "copy", shop.name, "--to", dsn_of(engine), "--name", name)
    with connected(engine) as connection:
        connection.execute("create database with_a_copy")
    there = ("--to", make_conninfo(dsn_of(engine), dbname="with_a_copy"))
    assert "3 images, 3 added" in ran(engine, "copy", shop.name, *there, "--name", "first")
    with pytest.raises(ServerError, match=f"'first' has the key pair of '{shop.name}' there: copy"):
        ran(engine, "copy", shop.name, *there)
    assert "0 added, 3 were there" in ran(engine, "copy", shop.name, *there, "--name", "first")


@one_postgresql
def test_a_copy_is_set_as_its_library(engine: Engine, pool: WatchedPool) -> None:
    """Quota and lag are taken over by a new library, and not again by one that has images."""
    shop = library(pool)
    BulkRows(pool).load(shop, list(rows(3)))
    bounds = Quota(per_second=9, per_day=100, in_total=None)
    Quotas(pool).bound(shop.name, bounds)
    LibrarySettings(pool).lag_deletes(shop.name, 60)
    with connected(engine) as connection:
        connection.execute("create database of_settings")
    dsn = make_conninfo(dsn_of(engine), dbname="of_settings")
    ran(engine, "copy", shop.name, "--to", dsn)
    with open_pool(settings.load({"PRODUCTSEARCH_ENGINE_DATABASE": dsn}, {}), 1) as there:
        assert bounds == Quotas(there).of(shop.name)
        assert 60 == Libraries(there).named(shop.name).delete_lag_s
        Quotas(there).bound(shop.name, replace(bounds, per_second=1))
        ran(engine, "copy", shop.name, "--to", dsn)
        assert 1 == Quotas(there).of(shop.name).per_second


@one_postgresql
def test_a_library_is_created_with_what_its_scores_mean(
    engine: Engine, pool: WatchedPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that ends just after it has created one, and is run again, loses nothing."""
    shop, scores = library(pool), Calibration((0.0, 1.0), (0.25, 0.75))
    LibrarySettings(pool).calibrate(shop.name, shop.embedding, scores)
    ran(engine, "export", shop.name, "--to", str(tmp_path / "a.ndjson"))
    with connected(engine) as connection:
        connection.execute("create database of_scores")
    dsn = make_conninfo(dsn_of(engine), dbname="of_scores")
    commands = (
        ("copy", shop.name, "--to", dsn, "--name", "scores"),
        ("import", str(tmp_path / "a.ndjson"), "--library", "scores", "--create"),
    )
    real = Libraries.create
    for command in commands:
        with monkeypatch.context() as patch:
            patch.setattr(Libraries, "create", partialmethod(_ends_after, real))
            with pytest.raises(ServerError, match="status 130"):
                ran(engine, *command)
        ran(engine, *command)
    there = settings.load({"PRODUCTSEARCH_ENGINE_DATABASE": dsn}, {})
    with open_pool(there, 1) as other:
        found = [Libraries(each).named("scores").calibration for each in (other, pool)]
    assert [scores, scores] == found


def _ends_after(
    of: Libraries, create: Callable[..., object], *values: object, **named: object
) -> NoReturn:
    create(of, *values, **named)
    raise KeyboardInterrupt
