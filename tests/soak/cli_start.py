"""How long `productsearch --help` and completion take, beside a Python that does nothing.

The best of many runs in turns: what the machine does besides only makes a run longer. The CPU time
of each stands beside it, for machines that are never idle.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

from tests.soak.measures import Measure, at_most, report

_RUNS: Final = 30
_HELP_MS_MAX: Final = 80
_COMPLETION_MS_MAX: Final = 120
_PROGRAM: Final = "from productsearch.cli import run; run()"


def run(runs: int = _RUNS) -> list[Measure]:
    """Start each ``runs`` times; return the lines of the report."""
    completes = {"_PRODUCTSEARCH_COMPLETE": "bash_complete", "COMP_CWORD": "2"}
    cases: dict[str, tuple[Sequence[str], dict[str, str]]] = {
        "pass": (("-c", "pass"), {}),
        "--help": (("-c", _PROGRAM, "--help"), {}),
        "completion": (("-c", _PROGRAM), completes | {"COMP_WORDS": "productsearch import --o"}),
    }
    best = dict.fromkeys(cases, float("inf"))
    cpu = dict.fromkeys(cases, float("inf"))
    for _ in range(runs):
        for name, (arguments, environment) in cases.items():
            began_s, began_cpu_s = time.perf_counter(), _children_cpu_s()
            done = subprocess.run(
                [sys.executable, *arguments],
                env=os.environ | environment,
                capture_output=True,
                text=True,
                check=True,
            )
            best[name] = min(best[name], 1000 * (time.perf_counter() - began_s))
            cpu[name] = min(cpu[name], 1000 * (_children_cpu_s() - began_cpu_s))
            assert name == "pass" or "on" in done.stdout, done.stdout
    print(
        {
            name: f"{ms:.1f} ms, {ms / best['pass']:.1f} x `python -c pass`; CPU {cpu[name]:.1f} ms"
            for name, ms in best.items()
        }
    )
    return [
        at_most("--help, ms", best["--help"], _HELP_MS_MAX),
        at_most("completion, ms", best["completion"], _COMPLETION_MS_MAX),
    ]


def _children_cpu_s() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


if __name__ == "__main__":
    sys.exit(report(run()))
