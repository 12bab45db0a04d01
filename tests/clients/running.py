"""Runs programs for the tests of the clients."""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
CLIENT: Final = ROOT / "clients/python"


def output_of(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program that has to succeed and return what it prints; of Maven one at a time."""
    with _one_at_a_time(str(command[0])):
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, check=False, cwd=cwd
        )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@contextmanager
def _one_at_a_time(program: str) -> Iterator[None]:
    """Wait for another process of these tests: Maven writes into the folder of the sources."""
    if program != "mvn":
        yield
        return
    with (ROOT / "clients/java/pom.xml").open("rb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        yield
