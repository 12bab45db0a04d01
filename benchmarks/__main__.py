"""Runs the measures, prints their tables and lines, writes JSON and plots to build/bench/."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks import plots
from benchmarks.findings import Findings
from tests.soak.measures import report

MEASURES: Final = (
    "encoder",
    "transport",
    "facade",
    "rivals",
    "added",
    "crowd",
    "memory",
    "mixed",
    "engine",
)
_OUTPUT: Final = Path("build/bench")


def main() -> int:
    """Run what was asked for; return 1 if a measure is short of its bar."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    arguments.add_argument("measures", nargs="*", metavar="MEASURE", help=", ".join(MEASURES))
    arguments.add_argument("--rounds", type=int, default=7, help="turns of each candidate")
    chosen = arguments.parse_args()
    if unknown := set(chosen.measures) - set(MEASURES):
        arguments.error(f"no such measure: {', '.join(sorted(unknown))}; one of {MEASURES}")
    found: dict[str, Findings] = {}
    for name in chosen.measures or MEASURES:
        began = time.monotonic()
        found[name] = importlib.import_module(f"benchmarks.{name}").run(chosen.rounds)
        print(f"\n{found[name].table()}\n\n({time.monotonic() - began:.0f} s)", flush=True)
    print()
    measures = [measure for findings in found.values() for measure in findings.measures]
    code = report(measures)
    _write(found)
    plots.draw_measures(measures, _OUTPUT / "measures.png")
    if "crowd" in found:
        plots.draw_load(found["crowd"].numbers, _OUTPUT / "load.png")
    return code


def _write(found: dict[str, Findings]) -> None:
    _OUTPUT.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "cores": os.cpu_count()}
    content = {"machine": machine} | {
        name: {
            "title": findings.title,
            "rows": findings.rows,
            "numbers": findings.numbers,
            "measures": [{**vars(measure), "kept": measure.kept} for measure in findings.measures],
        }
        for name, findings in found.items()
    }
    (_OUTPUT / "results.json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
