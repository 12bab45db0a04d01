"""The audit stream on a disk that is full: what is left in it, and that it goes on by itself."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from productsearch_service import limits
from productsearch_service.audit import Audit, Write
from productsearch_service.audit_chain import verify
from tests.lifecycle.asking import until

WRITE = Write("web", "default", "add", "1,2", "CREATED", 101, 1_700_000_000.0)
NO_ROOM = OSError(errno.ENOSPC, "No space left on device")
REAL = os.write
LIMITED = """
    import logging, resource, sys, time
    from pathlib import Path
    from productsearch_service import limits
    from productsearch_service.audit import Audit, Write

    def room(size_bytes):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))

    def until(what):
        end_s = time.monotonic() + 20
        while not what():
            assert time.monotonic() < end_s
            time.sleep(0.01)

    logging.basicConfig(stream=sys.stdout, level=logging.WARNING, format="%(message)s")
    limits.AUDIT_CALM_S = 0.0
    path, write = Path(sys.argv[1]), Write("web", "default", "add", "1,2", "CREATED", 101, 1.7e9)
"""
"""Of a process of its own: the limit is for all files that it writes."""


def _run(script: str, path: Path) -> str:
    program = textwrap.dedent(LIMITED) + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, timeout=60, check=False
    )
    assert 0 == done.returncode, done.stderr.decode()
    return done.stdout.decode()


def _whole(path: Path) -> list[dict[str, object]]:
    """Return the whole lines of a stream whose chain is whole."""
    assert [] == verify([path]).wrong
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def test_what_does_not_fit_leaves_no_half_and_is_told_once_there_is_room(tmp_path: Path) -> None:
    """Also where nobody writes any more: both its line, and the log's."""
    path = tmp_path / "audit.jsonl"
    told = _run(
        """
        audit = Audit(path)
        audit.record(write)
        until(lambda: audit.written == 1)
        size = path.stat().st_size
        room(size + 100)
        audit.record(write)
        until(lambda: audit.lost == 1)
        assert path.stat().st_size == size
        room(size + 10_000)
        until(lambda: path.read_text().count("\\n") == 2 and audit._lost_before is None)
        print("by itself")
        audit.record(write)
        audit.close()
        """,
        path,
    )
    assert [None, 1, None] == [line.get("lost") for line in _whole(path)]
    begun, over, by_itself = told.splitlines()
    assert "lines are being lost" in begun
    assert over.endswith("lines are written again; 1 were lost")
    assert "by itself" == by_itself


def test_a_stream_that_was_cut_off_is_gone_on_with_once_there_is_room(tmp_path: Path) -> None:
    """A replica that the full disk ended starts again on that disk."""
    path = tmp_path / "audit.jsonl"
    audit = Audit(path)
    audit.record(WRITE)
    audit.close()
    with path.open("a") as cut:
        cut.write('{"seq":2,"ti')
    _run(
        """
        room(path.stat().st_size)
        audit = Audit(path)
        audit.record(write)
        until(lambda: audit.lost == 1)
        room(10_000)
        audit.record(write)
        audit.close()
        """,
        path,
    )
    assert [(1, None), (2, 1), (3, None)] == [
        (line["seq"], line.get("lost")) for line in _whole(path)
    ]


@contextmanager
def _full_after(size_bytes: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let so many bytes be written and none be taken back, of as many as come at a time."""
    left = size_bytes

    def write(descriptor: int, content: bytes) -> int:
        nonlocal left
        if not left:
            raise NO_ROOM
        count = REAL(descriptor, content[:left])
        left -= count
        return count

    def truncate(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        patch.setattr(os, "ftruncate", truncate)
        yield


@pytest.mark.parametrize("fits", [1, 150, 400, 700])
def test_what_cannot_be_taken_back_breaks_no_chain(
    fits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a part of a line nor whole ones of a group that did not fit."""
    monkeypatch.setattr(limits, "AUDIT_LOOK_S", 3600.0)  # this thread writes in the other's place
    path = tmp_path / "audit.jsonl"
    audit = Audit(path)
    audit.record(WRITE)
    until(lambda: audit.written == 1, "the first line")
    with _full_after(fits, monkeypatch):
        with pytest.raises(OSError, match="No space"):
            audit._append([WRITE] * 3)
        with pytest.raises(OSError, match="No space"):
            audit._append([WRITE])
    audit.record(WRITE)
    audit.close()
    lines = _whole(path)
    assert [*range(1, len(lines) + 1)] == [line["seq"] for line in lines]


def test_what_cannot_be_a_line_ends_no_other(tmp_path: Path) -> None:
    """It is counted as lost; a word that is no text must not end the thread that writes."""
    path = tmp_path / "audit.jsonl"
    audit = Audit(path)
    audit.record(Write("web", "default", "add", "\ud800", "CREATED", 101, 1_700_000_000.0))
    until(lambda: audit.lost == 1, "the loss")
    audit.record(WRITE)
    audit.close()
    assert [1, None] == [line.get("lost") for line in _whole(path)]


def test_a_new_file_has_its_first_line_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody writes: a service that starts later would begin another chain in it."""
    monkeypatch.setattr(limits, "AUDIT_LOOK_S", 0.02)
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.1.jsonl"
    audit = Audit(path)
    audit.record(WRITE)
    until(lambda: audit.written == 1, "the first line")
    with _full_after(0, monkeypatch):
        path.rename(old)
        until(path.exists, "the new file")
    until(lambda: path.stat().st_size, "its first line")
    audit.close()
    assert [] == verify([old, path]).wrong
    assert "rotate" == json.loads(path.read_text())["action"]
