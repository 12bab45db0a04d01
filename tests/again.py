"""Runs the tests that failed last once more, alone, and five times each.

For CI, after `make test` or `make test-slow`: a test that depends on chance or on what runs beside
it does not stop everybody's work, but it is named. One that fails once more, or a third test, does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

_FAILED: Final = Path(".pytest_cache/v/cache/lastfailed")
_TESTS_MAX: Final = 2
_TIMES: Final = 5


def failed_last(file: Path) -> list[str]:
    """Return the tests that failed when they ran last; none where no test was run."""
    try:
        return list(json.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        return []


def verdict(tests: list[str]) -> str:
    """Return why these are not run again; empty: they are."""
    if not tests:
        return "no test failed: it was something else"
    if len(tests) > _TESTS_MAX:
        return f"{len(tests)} tests failed; of at most {_TESTS_MAX} it can be chance"
    return ""


def main() -> int:
    """Run them; return 0 if all passed each time."""
    tests = failed_last(_FAILED)
    if why_not := verdict(tests):
        print(f"again: {why_not}")
        return 1
    for turn in range(_TIMES):
        print(f"again, {turn + 1} of {_TIMES}: {' '.join(tests)}", flush=True)
        if subprocess.call([sys.executable, "-m", "pytest", "-q", *tests]):
            return 1
    for test in tests:
        print(f"again: {test} failed once and passed {_TIMES} times: find out why")
    return 0


if __name__ == "__main__":
    sys.exit(main())
