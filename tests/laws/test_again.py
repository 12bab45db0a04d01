"""CI runs few failed tests again, and never because nothing was tested."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.again import failed_last, verdict

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("tests", "told"),
    [
        ([], "no test failed"),
        (["a"], ""),
        (["a", "b"], ""),
        (["a", "b", "c"], "3 tests failed"),
    ],
)
def test_who_is_run_again(tests: list[str], told: str) -> None:
    """One or two; where none failed it was no test."""
    assert (told in verdict(tests), bool(told)) == (True, bool(verdict(tests)))


def test_what_failed_is_read_from_where_pytest_writes_it(tmp_path: Path) -> None:
    """Of workers too; a run in which all pass leaves nothing."""
    module, kept = tmp_path / "test_it.py", tmp_path / ".pytest_cache"
    command = [sys.executable, "-m", "pytest", "-q", "-n", "1", "-c", "/dev/null"]
    command += ["--rootdir", str(tmp_path), "-o", f"cache_dir={kept}", str(module)]
    file = kept / "v" / "cache" / "lastfailed"
    assert [] == failed_last(file)
    module.write_text("def test_one():\n    pass\n\n\ndef test_two():\n    assert False\n")
    assert 1 == subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode
    assert ["test_it.py::test_two"] == failed_last(file)
    module.write_text("def test_one():\n    pass\n\n\ndef test_two():\n    pass\n")
    assert 0 == subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode
    assert [] == failed_last(file)


def test_ci_runs_them_again_and_make_test_does_not() -> None:
    """Who works on the product sees what failed."""
    assert "make test || make test-again" in (ROOT / ".ci" / "run").read_text("utf-8")
    test = (ROOT / "Makefile").read_text("utf-8").partition("\ntest: ")[2].partition("\n\n")[0]
    assert "again" not in test
