"""Runs programs for the tests of the clients."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
CLIENT: Final = ROOT / "clients/python"


def output_of(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program that has to succeed and return what it prints."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd=cwd
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout
