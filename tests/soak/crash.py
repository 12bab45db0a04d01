"""Servers are killed with SIGKILL at random points, and what was acknowledged is there.

The facade, before an upstream that keeps a journal; the engine, its workers and its PostgreSQL,
behind a facade. Callers do what the README tells them: they repeat an add with KEEP until it is
acknowledged. And many callers add the same image at the same moment.
"""

from __future__ import annotations

import argparse
import random
import sys
from dataclasses import dataclass, replace
from typing import Final

from demo.processes import Engine
from tests.ports import free_port
from tests.soak.crash_engine import add_at_once, kill_the_engine
from tests.soak.crash_facade import kill_the_facade
from tests.soak.measures import Measure, report


@dataclass(frozen=True)
class Size:
    """How many adds and kills of the facade, kills of the engine, identical adds."""

    adds: int
    facade_kills: int
    engine_kills: int
    identical_adds: int = 64


FULL: Final = Size(10_000, 200, 100)
SMALL: Final = Size(300, 20, 3)


def run(size: Size, seed: int) -> list[Measure]:
    """Kill the facade, then the engine's processes; return the lines of the report."""
    measures = kill_the_facade(size.adds, size.facade_kills, random.Random(seed))
    return measures + run_engine(size, seed)


def run_engine(size: Size, seed: int) -> list[Measure]:
    """Kill the engine, its workers and PostgreSQL; return the lines of the report."""
    with Engine(listen=f"127.0.0.1:{free_port()}") as engine:
        return [
            *kill_the_engine(engine, size.engine_kills, random.Random(seed)),
            *add_at_once(engine, size.identical_adds),
        ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The engine's kills alone.")
    parser.add_argument("--kills", type=int, default=FULL.engine_kills)
    parser.add_argument("--seed", type=int, default=20261126)
    asked = parser.parse_args()
    sys.exit(report(run_engine(replace(FULL, engine_kills=asked.kills), asked.seed)))
