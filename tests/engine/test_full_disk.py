"""A full disk stops adds; searches go on, and health says what is the matter."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
import requests

from demo.processes import Engine, ServerError
from productsearch_engine.api.error_mapping import api_error
from productsearch_engine.database.disk import Disk
from productsearch_engine.database.pool import WatchedPool
from productsearch_engine.database.watch import Watch
from productsearch_engine.limits import DISK_FREE_LAST, DISK_FREE_MIN, DISK_RESERVE_BYTES
from tests.engine.bulk_library import head, rows, write
from tests.engine.calling import Caller, code_of
from tests.engine.copies import Template
from tests.engine.databases import one_postgresql
from tests.engine.image_files import jpeg

_ROWS, _DIMENSIONS = 20_000, 512
"""Of a file that takes some 100 MiB in the database, its index and PostgreSQL's log included."""

Usage = namedtuple("Usage", ["total", "used", "free"])


def test_free_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Adds stop while there is room for the log, and go on when there is clearly more.

    Each of both has one line, however often the disk is looked at.
    """
    free = 1 << 40
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 41, 0, free))
    disk, reserve = Disk(tmp_path), tmp_path / "postgres.reserve"
    for free, full, reserved in (
        (1 << 40, False, True),
        (DISK_FREE_MIN, False, True),
        (DISK_FREE_MIN - 1, True, True),
        (DISK_FREE_MIN + 1, True, True),
        (DISK_FREE_LAST - 1, True, False),
        (DISK_FREE_LAST - 1 + DISK_RESERVE_BYTES, True, False),
        (DISK_FREE_MIN + DISK_RESERVE_BYTES, False, False),
        (1 << 40, False, True),
    ):
        disk.look()
        assert (full, reserved) == (disk.is_full, reserve.exists()), free
    assert DISK_RESERVE_BYTES == reserve.stat().st_size
    full, again = caplog.messages
    free_mib = (DISK_FREE_MIN - 1) >> 20
    assert f"the disk of {tmp_path} is full: {free_mib} MiB are free, adds are refused" == full
    assert again.startswith(f"the disk of {tmp_path} has room again: ")


def test_a_full_disk_elsewhere_has_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Not one for each add that fails; it names the database."""
    watch = Watch("host=db.example dbname=shop password=x")
    for _ in range(3):
        watch.note_full_disk()
    (told,) = caplog.messages
    assert told.startswith("db.example port 5432 database shop: its disk is full; adds are refused")


def test_a_full_disk_has_an_answer() -> None:
    """PostgreSQL's own error of a full disk is no internal error, and waiting does not help."""
    answer = api_error(psycopg.errors.DiskFull("text"), 7).answer(7)
    assert (990001, "disk is full") == (answer["error_code"], answer["error_msg"])


@one_postgresql
def test_a_failed_statement_is_noted(engine: Engine) -> None:
    """Of a database elsewhere a full disk is known by the statement that failed."""
    host = (engine.data / "postgres" / "postmaster.pid").read_text().splitlines()[4]
    watch = Watch(f"host={host} user=postgres")
    with WatchedPool(f"host={host} user=postgres", watch, 1) as pool:
        assert not watch.disk_is_full()
        with pytest.raises(psycopg.errors.DiskFull), pool.connection() as connection:
            connection.execute("do $$ begin raise sqlstate '53100'; end $$")
        assert watch.disk_is_full()


@pytest.fixture
def small(template: Template) -> Iterator[Engine]:
    """An engine on a small disk of its own."""
    folder = Path(tempfile.mkdtemp(prefix="productsearch-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600m,mode=711", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("no disk can be made here")
    try:
        subprocess.run(["cp", "-a", template.data / "postgres", folder], check=True)
        with Engine(folder) as engine:
            yield engine
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a disk")
def test_the_disk_fills(small: Engine, template: Template) -> None:
    """Others fill the disk to the last byte: searches and deletes go on, adds are refused."""
    caller = Caller(small.url, *template.keys)
    for seed in range(5):
        assert 0 == code_of(caller.call("add", image=jpeg(seed), brief=str(seed)))
    hog = small.data / "hog"
    with hog.open("wb", buffering=0) as grown, suppress(OSError):
        while True:
            grown.write(bytes(1 << 20))
    _until(small, "disk full: adds are refused")
    reserve = small.data / "postgres.reserve"
    _wait(lambda: not reserve.exists())
    for seed in range(5, 8):
        refused = caller.call("add", image=jpeg(seed), brief="x")
        assert (990001, "disk is full") == (refused["error_code"], refused["error_msg"])
    for _ in range(20):
        assert 5 == caller.call("search", image=jpeg(0))["result_num"]
    assert 216681 == code_of(caller.call("add", image=jpeg(0), brief="x"))
    assert 0 == code_of(caller.call("delete", image=jpeg(4)))
    hog.unlink()
    _until(small, "ok")
    assert 0 == code_of(caller.call("add", image=jpeg(5), brief="x"))
    _wait(reserve.exists)
    caller.close()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a disk")
def test_an_import_stops_before(small: Engine, template: Template, tmp_path: Path) -> None:
    """It ends with a sentence while PostgreSQL has room, and goes on when there is more.

    Meanwhile all libraries are searched. The index waits for the import that completes it.
    """
    file = tmp_path / "made.ndjson"
    made = head(images=_ROWS, dimensions=_DIMENSIONS, keep_images=False)
    write(file, [*rows(_ROWS, dimensions=_DIMENSIONS, plain=True)], made)
    caller = Caller(small.url, *template.keys)
    assert 0 == code_of(caller.call("add", image=jpeg(1), brief="1"))
    hog = small.data / "hog"
    free = shutil.disk_usage(small.data).free - DISK_FREE_MIN - 2 * DISK_RESERVE_BYTES
    with hog.open("wb") as grown:
        os.posix_fallocate(grown.fileno(), 0, free - (40 << 20))
    with pytest.raises(ServerError) as stopped:
        small.command("import", str(file), "--library", "big", "--create")
    told = str(stopped.value)
    assert "MiB more are needed, and the database's disk has" in told
    assert "run the same import again: it goes on from there" in told
    assert "Traceback" not in told + small.log()
    assert 1 == caller.call("search", image=jpeg(1))["result_num"]
    assert 0 == code_of(caller.call("add", image=jpeg(2), brief="2"))
    hog.unlink()
    told = small.command("import", str(file), "--library", "big")
    assert f"{_ROWS} rows, {_ROWS} added, 0 duplicates" in told
    caller.close()


def _until(engine: Engine, status: str) -> None:
    _wait(lambda: status == requests.get(engine.url + "/healthz", timeout=30).json()["status"])


def _wait(reached: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not reached() and time.monotonic() < ends:
        time.sleep(0.1)
    assert reached()
