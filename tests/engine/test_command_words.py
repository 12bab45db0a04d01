"""Commands whose arguments are no text, or whose output goes nowhere, end with a sentence."""

from __future__ import annotations

import csv
import errno
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from demo.processes import Engine
from productsearch_engine.cli import main
from productsearch_engine.store.libraries import Libraries
from tests.engine.databases import one_postgresql, settings_of

_FIELD_CHARS = 131_072
"""Python's own limit, which the command line of the clients raises."""

_NOT_TEXT = os.fsdecode(b"\xff")


@pytest.fixture(autouse=True)
def _own_process(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run commands as in a process of their own, and undo what they do to this one."""
    for name, value in settings_of(engine).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PRODUCTSEARCH_ENGINE_DATA", str(engine.data))
    longest = csv.field_size_limit(_FIELD_CHARS)
    yield
    csv.field_size_limit(longest)
    logging.disable(logging.NOTSET)  # a doctor disables all


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", _NOT_TEXT, "--to", "x"),
        ("import", "x", "--library", _NOT_TEXT),
        ("copy", "a", "--to", f"host={_NOT_TEXT}"),
        ("reembed", _NOT_TEXT, "--discard"),
        ("evaluate", "x", "--calibrate", _NOT_TEXT),
        ("library", "rename", "a", _NOT_TEXT),
        ("user", "remove", _NOT_TEXT),
        ("purge", "a", _NOT_TEXT),
        ("doctor", "--data", _NOT_TEXT),
    ],
)
def test_an_argument_that_is_no_text(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is wrong usage; names of files may be any bytes."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert 2 == ended.value.code
    assert "is not UTF-8" in capsys.readouterr().err


def test_a_setting_that_is_no_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told by its name, without its value, which can be a password."""
    monkeypatch.setenv("PRODUCTSEARCH_ENGINE_DATABASE", f"host=x password={_NOT_TEXT}y")
    assert 2 == main(["library", "list"])
    told = capsys.readouterr().err
    assert "database: is not UTF-8" in told
    assert "password" not in told


@pytest.mark.parametrize("command", [("user", "list"), ("doctor",)])
def test_output_that_is_lost(
    command: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A disk that has no room for what a command prints is no success of the command."""
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert 0 != main(command)
        monkeypatch.undo()
    assert "No space left on device" in capsys.readouterr().err


def test_a_file_whose_name_is_no_text(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written, and told of as far as it can be printed."""
    engine.create_library("named-by-bytes")
    with (tmp_path / "out").open("w", encoding="utf-8") as out:
        monkeypatch.setattr(sys, "stdout", out)
        to = tmp_path / f"{_NOT_TEXT}.ndjson"
        assert 0 == main(["export", "named-by-bytes", "--to", str(to)])
        monkeypatch.undo()
    assert to.exists()
    assert "\\udcff.ndjson" in (tmp_path / "out").read_text()


@one_postgresql
def test_a_database_that_is_lost(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of an engine's own one the folder is told, not a connection string that nobody gave."""

    def lost(*_: object) -> None:
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(Libraries, "list", lost)
    monkeypatch.delenv("PRODUCTSEARCH_ENGINE_DATABASE", raising=False)
    assert 1 == main(["library", "list"])
    told = capsys.readouterr().err
    assert f"database: {engine.data}/postgres: the connection failed or was lost" in told
    assert "server.log" in told


@pytest.mark.parametrize("content", [b"file,product\n\xff,1\n", b"file,product\n" + b"x" * 200_000])
def test_a_table_that_is_none(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named, with what it should be."""
    table = tmp_path / "photos.csv"
    table.write_bytes(content)
    assert 1 == main(["evaluate", str(table)])
    assert f"{table}: no CSV file in UTF-8" in capsys.readouterr().err


def test_an_export_that_does_not_fit(
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The file whose write failed is named, and goes."""
    engine.create_library("too-large")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert 1 == main(["export", "too-large", "--to", str(tmp_path / "x")])
    assert f"{tmp_path}/x.part: No space left on device" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]
