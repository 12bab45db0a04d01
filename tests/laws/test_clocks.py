"""Durations are measured by the monotonic clock: the wall clock may be set while a service runs."""

from __future__ import annotations

import ast
from pathlib import Path

SERVICE = Path(__file__).resolve().parents[2] / "service/productsearch_service"
WALL = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today"}
ALLOWED = {
    "audit.py": "when the stream went on in another file",
    "library/audited.py": "when a write was done",
    "rpc/access_record.py": "when a call ended",
    "server/compose.py": "the dates of certificates",
    "server/concerns.py": "the dates of certificates",
    "server/doctor/callers.py": "the dates of certificates",
    "server/doctor/line.py": "the dates of certificates, and how far clocks differ",
    "server/key_pairs.py": "the dates of key pairs",
    "server/watched_files.py": "the dates of certificates",
    "tallies.py": "when an exemplar was counted",
    "traces.py": "when an RPC began",
    "upstream/http/answer.py": "a Retry-After that is a date; at most 300 s are waited",
}
"""Who reads the wall clock, and for what."""


def _read(path: Path) -> set[str]:
    return {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    } & WALL


def test_the_wall_clock_is_read_for_dates_alone() -> None:
    """In the places that are named here and nowhere else."""
    found = {str(path.relative_to(SERVICE)) for path in SERVICE.rglob("*.py") if _read(path)}
    assert set(ALLOWED) == found


def test_clocks_are_imported_as_modules() -> None:
    """So that the law above sees each use of one."""
    for path in SERVICE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "time":
                assert set() == {each.name for each in node.names} & {"time", "time_ns"}, path
