"""The log is written by a thread: who reads it may stop, and the disk may be full."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_LOGS = """
import logging
from productsearch_service.observability import logs
logs.install("INFO", "json")
for number in range({count}):
    logging.warning("line %d %s", number, "x" * 1000)
print("done", flush=True)
"""


def _run(count: int, stderr: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _LOGS.format(count=count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)


def test_a_reader_that_stops_holds_up_nobody() -> None:
    """More lines than pipe and memory may hold are logged, and the process ends by itself."""
    reading, writing = os.pipe()
    process = _run(6_000, writing)
    try:
        out, _ = process.communicate(timeout=60)
        assert ("done\n", 0) == (out, process.returncode)
    finally:
        process.kill()
        os.close(reading)
        os.close(writing)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_nobodys_error() -> None:
    """Whoever logs goes on."""
    with Path("/dev/full").open("w") as full:
        process = _run(10, full.fileno())
        assert "done\n" == process.communicate(timeout=60)[0]
        assert 0 == process.returncode


def test_a_reader_that_has_gone_is_nobodys_error() -> None:
    """Whoever logs goes on."""
    reading, writing = os.pipe()
    process = _run(10, writing)
    os.close(reading)
    os.close(writing)
    assert "done\n" == process.communicate(timeout=60)[0]
    assert 0 == process.returncode


def test_all_lines_leave_before_the_end() -> None:
    """A reader that reads gets each line, in order."""
    process = _run(200, subprocess.PIPE)
    _, told = process.communicate(timeout=60)
    assert [f"line {number} " in line for number, line in enumerate(told.splitlines())] == (
        [True] * 200
    )


_LEVEL = """
import logging
from productsearch_service.observability import logs
logs.install("ERROR", "json")
for name in ("productsearch.access", "productsearch_service.audit", "other"):
    logging.getLogger(name).info("of %s", name)
"""


def test_lines_of_calls_come_at_any_level() -> None:
    """Their share has a setting of its own; digests of the audit stream come always."""
    done = subprocess.run([sys.executable, "-c", _LEVEL], stderr=subprocess.PIPE, text=True)
    assert ["of productsearch.access", "of productsearch_service.audit"] == [
        json.loads(line)["message"] for line in done.stderr.splitlines()
    ]
