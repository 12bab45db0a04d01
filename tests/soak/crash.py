"""Servers are killed with SIGKILL at random points, and what was acknowledged is there.

The facade, before an upstream that keeps a journal; the engine and its PostgreSQL, behind a
facade. Callers do what the README tells them: they repeat an add with KEEP until it is
acknowledged. And many callers add the same image at the same moment.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from demo.processes import Engine
from tests.ports import free_port
from tests.soak.crash_engine import add_at_once, kill_the_engine
from tests.soak.crash_facade import kill_the_facade
from tests.soak.measures import Measure


@dataclass(frozen=True)
class Size:
    """How many adds and kills of the facade, kills of the engine, identical adds."""

    adds: int
    facade_kills: int
    engine_kills: int
    identical_adds: int = 64


FULL: Final = Size(10_000, 200, 30)
SMALL: Final = Size(300, 20, 2)


def run(size: Size, seed: int) -> list[Measure]:
    """Kill the facade, then the engine and PostgreSQL; return the lines of the report."""
    measures = kill_the_facade(size.adds, size.facade_kills, random.Random(seed))
    with Engine(listen=f"127.0.0.1:{free_port()}") as engine:
        measures += kill_the_engine(engine, size.engine_kills, random.Random(seed))
        measures += add_at_once(engine, size.identical_adds)
    return measures
