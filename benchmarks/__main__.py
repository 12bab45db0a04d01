"""Runs the measures, prints their tables and lines, writes JSON and charts to build/bench/."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import against, compared, plots
from benchmarks.checkout import CheckoutError
from benchmarks.findings import Findings
from tests.soak.measures import report

MEASURES: Final = (
    "encoder",
    "fit",
    "transport",
    "facade",
    "rivals",
    "added",
    "crowd",
    "memory",
    "mixed",
    "large",
    "observability",
    "engine",
)
ON_REQUEST: Final = ("go",)
"""Run only if they are named."""
_OUTPUT: Final = Path("build/bench")


def main() -> int:
    """Run what was asked for; return 1 if a measure is short of its bar."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    known: tuple[str, ...] = (*MEASURES, *ON_REQUEST)
    arguments.add_argument(
        "measures",
        nargs="*",
        metavar="MEASURE",
        help=f"{', '.join(known)}; with --against: {', '.join(compared.MEASURES)}",
    )
    arguments.add_argument("--rounds", type=int, default=7, help="turns of each candidate")
    arguments.add_argument(
        "--against", metavar="REV", help="measure this checkout and that commit instead"
    )
    chosen = arguments.parse_args()
    if chosen.against:
        known = compared.MEASURES
    if unknown := set(chosen.measures) - set(known):
        arguments.error(f"no such measure: {', '.join(sorted(unknown))}; one of {known}")
    runs: dict[str, Callable[[int], Findings]]
    if chosen.against and not chosen.measures:
        runs = {"against": partial(against.run, revision=chosen.against)}
    elif chosen.against:
        runs = {
            name: partial(compared.run, revision=chosen.against, measure=name)
            for name in chosen.measures
        }
    else:
        runs = {
            name: importlib.import_module(f"benchmarks.{name}").run
            for name in chosen.measures or MEASURES
        }
    found: dict[str, Findings] = {}
    for name, run in runs.items():
        began = time.monotonic()
        try:
            found[name] = run(chosen.rounds)
        except CheckoutError as error:
            arguments.error(str(error))
        print(f"\n{found[name].table()}\n\n({time.monotonic() - began:.0f} s)", flush=True)
    print()
    measures = [measure for findings in found.values() for measure in findings.measures]
    _write(found, _OUTPUT / ("against.json" if chosen.against else "results.json"))
    if "crowd" in found:
        plots.draw_load(found["crowd"].numbers, _OUTPUT / "load.png")
    if not measures:
        return 0  # what is told for the record has no bar
    plots.draw_measures(measures, _OUTPUT / ("against.png" if chosen.against else "measures.png"))
    return report(measures)


def _write(found: dict[str, Findings], file: Path) -> None:
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
    file.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
