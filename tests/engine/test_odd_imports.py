"""Imports of files that no export wrote: what is told, what is stored, what is counted."""

from __future__ import annotations

import bz2
import gzip
import lzma
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from demo.processes import Engine, ServerError
from productsearch_engine.bulk.heads import head_line
from productsearch_engine.bulk.lines import line
from productsearch_engine.bulk.source import Source
from productsearch_engine.database.pool import WatchedPool
from productsearch_engine.store.libraries import Libraries, LibraryError
from tests.engine.bulk_library import counted, head, library, rows, stored, write
from tests.engine.commands import ran, told_by


@pytest.mark.parametrize("options", [(), ("--skip-wrong",)])
def test_files_one_after_another_in_one(
    engine: Engine, pool: WatchedPool, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """The second one's vectors may be of another embedding: no row of it is taken."""
    to, made = library(pool), list(rows(5))
    text = head_line(head()) + "".join(map(line, made))
    text += head_line(head(embedding="other-1")) + "".join(map(line, rows(5, seed=1)))
    (tmp_path / "a.ndjson").write_text(text, encoding="utf-8")
    with pytest.raises(ServerError, match="row 6: field format: another file's first line"):
        ran(engine, "import", str(tmp_path / "a.ndjson"), "--library", to.name, *options)
    assert sorted(made, key=lambda row: row.sign) == stored(pool, to)
    assert 5 == counted(pool, to)


def test_a_file_twice_in_a_folder(engine: Engine, pool: WatchedPool, tmp_path: Path) -> None:
    """Its rows are duplicates the second time, and not added twice by what is told."""
    to, made = library(pool), list(rows(5))
    for name in ("a", "b"):
        write(tmp_path / f"{name}.ndjson", made)
    told, beside = told_by(engine, "import", str(tmp_path), "--library", to.name)
    assert "10 rows, 5 added, 5 duplicates, 0 rejected" in told
    assert f"{tmp_path / 'b.ndjson'} is the same as a file before it" in beside
    assert 5 == counted(pool, to)


def test_files_of_two_embeddings_in_a_folder(
    engine: Engine, pool: WatchedPool, tmp_path: Path
) -> None:
    """Both files are named, and no library is created for the first of them."""
    write(tmp_path / "a.ndjson", list(rows(2)))
    write(tmp_path / "b.ndjson", list(rows(2, seed=1)), head(embedding="other-1"))
    before = Libraries(pool).list()
    with pytest.raises(ServerError, match=r"b\.ndjson has vectors of other-1 .*two libraries"):
        ran(engine, "import", str(tmp_path), "--library", "of-two", "--create")
    assert before == Libraries(pool).list()


def test_each_export_in_a_folder_is_whole(
    engine: Engine, pool: WatchedPool, tmp_path: Path
) -> None:
    """What one has lost is told, whatever the other one has."""
    write(tmp_path / "a.ndjson", list(rows(9)))
    write(tmp_path / "b.ndjson", list(rows(5, seed=1)), head(library="second", images=7))
    with pytest.raises(ServerError, match="tells of 16 images: it is cut short"):
        ran(engine, "import", str(tmp_path), "--library", library(pool).name)


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (gzip.compress(b"{}"), "packed by gzip"),
        (bz2.compress(b"{}"), "packed by bzip2"),
        (lzma.compress(b"{}"), "packed by xz"),
        (b"PK\x03\x04\n,", "packed by zip"),
        (b"\x28\xb5\x2f\xfd\n,", "packed by zstd"),
        ('{"brief": "a,b"}\n'.encode("utf-16"), "write it as UTF-8"),
        ('{"brief": "a,b"}\n'.encode("utf-16-be"), "write it as UTF-8"),
        (b"PK,image\n", "`productsearch import` takes CSV"),
    ],
    ids=["gzip", "bzip2", "xz", "zip", "zstd", "utf-16", "utf-16-be", "csv"],
)
def test_what_is_to_be_done_to_a_file_first(first: bytes, told: str, tmp_path: Path) -> None:
    """A packed file, or one of another encoding, is no table of the other import's."""
    (tmp_path / "shop.ndjson").write_bytes(first)
    with pytest.raises(LibraryError, match=told):
        Source.of(tmp_path / "shop.ndjson")


def test_a_full_library_with_a_blank_in_its_name(
    engine: Engine, pool: WatchedPool, tmp_path: Path
) -> None:
    """What gives it room can be pasted into a shell as it is told."""
    to = library(pool, capacity=1)
    Libraries(pool).rename(to.name, f"{to.name} $HOME")
    write(tmp_path / "a.ndjson", list(rows(2)))
    command = ("import", str(tmp_path / "a.ndjson"), "--library", f"{to.name} $HOME")
    with pytest.raises(ServerError, match=rf"library grow '{to.name} \$HOME', and run"):
        ran(engine, *command)


def test_equal_rows_have_equal_lines() -> None:
    """PostgreSQL tells times at the offset of the session, PGTZ or the server's."""
    (row,) = rows(1)
    assert row.created_at is not None
    elsewhere = replace(row, created_at=row.created_at.astimezone(timezone(timedelta(hours=8))))
    assert row == elsewhere
    assert line(row) == line(elsewhere)


def test_a_wrong_row_of_a_folder(engine: Engine, pool: WatchedPool, tmp_path: Path) -> None:
    """It is told in which file it is, also where it is left out."""
    for name in ("a", "b"):
        file = write(tmp_path / f"{name}.ndjson", list(rows(2, seed=ord(name))), head())
    with file.open("a") as stream:
        stream.write('{"brief": 3}\n')
    command = ("import", str(tmp_path), "--library", library(pool).name)
    for options in ((), ("--skip-wrong",)):
        with pytest.raises(ServerError, match=r"b\.ndjson: row 3: field digest: it is missing"):
            ran(engine, *command, *options)


def test_a_list_of_images_creates_no_library(engine: Engine, tmp_path: Path) -> None:
    """It does not say of which embedding; the command that creates one is told."""
    (tmp_path / "a.ndjson").write_text('{"brief": "mug", "image": "1.jpg"}\n')
    command = ("import", str(tmp_path / "a.ndjson"), "--library", "of a list", "--create")
    with pytest.raises(ServerError, match="create the library first, with library create 'of a"):
        ran(engine, *command)
