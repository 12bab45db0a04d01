"""A second signal at any moment of a stop: the process ends well."""

from __future__ import annotations

import subprocess
import sys

DRAINS = 150
WITHIN_S = 120


def test_a_stop_is_hurried_at_any_moment() -> None:
    """Before, while and after the calls under way are given their grace, with none, one and two."""
    stopped = subprocess.run(
        [sys.executable, "-m", "tests.lifecycle.drains", str(DRAINS)],
        capture_output=True,
        timeout=WITHIN_S,
        text=True,
    )
    assert 0 == stopped.returncode, stopped.stderr[-2_000:]
