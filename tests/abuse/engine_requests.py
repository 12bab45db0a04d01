"""Mutated requests in number: documented answers only, and memory that stays."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import psutil

from demo.processes import Engine
from tests.engine.calling import Caller, code_of
from tests.engine.image_files import jpeg
from tests.engine.wire import Wire, request
from tests.soak.measures import Measure, at_most, equal

SIZE: Final = int(os.environ.get("REQUESTS", "20000"))
"""``REQUESTS=1000000`` is the full size."""

_SEED: Final = 20261125
_CALLERS: Final = 16


def measures() -> Iterator[Measure]:
    """Send requests over several connections; the first tenth is to warm up."""
    outcomes: Counter[str] = Counter()
    with Engine() as engine:
        caller = Caller(engine.url, *engine.create_library("mutated"))
        warm = SIZE // 10
        outcomes += _send(caller, 0, warm)
        before = _memory(engine)
        outcomes += _send(caller, warm, SIZE)
        grown = _memory(engine) - before
        after = code_of(caller.call("search", image=jpeg(1)))
        log = engine.log()
        caller.close()
    print(f"seed {_SEED}: {dict(outcomes.most_common())}")
    wrong = sum(count for outcome, count in outcomes.items() if outcome.startswith("WRONG"))
    yield equal(f"mutated requests: undocumented answers of {SIZE}", wrong, 0)
    yield equal("mutated requests: tracebacks in the log", log.count("Traceback"), 0)
    yield equal("mutated requests: code of an ordinary search after that", after, 0)
    yield at_most("mutated requests: memory grown, MB", grown / 1e6, 30)


def _send(caller: Caller, first: int, last: int) -> Counter[str]:
    def run(part: int) -> Counter[str]:
        wire, found = Wire(caller.url), Counter[str]()
        for number in range(first + part, last, _CALLERS):
            sent, whole = request(random.Random(_SEED * 1_000_003 + number), caller.token)
            outcome = wire.outcome(sent, whole=whole)
            found[outcome] += 1
            if outcome.startswith("WRONG"):
                print(f"{number}: {outcome} for {sent[:300]!r}")
        wire.close()
        return found

    with ThreadPoolExecutor(_CALLERS) as pool:
        return sum(pool.map(run, range(_CALLERS)), Counter[str]())


def _memory(engine: Engine) -> int:
    process = psutil.Process(engine.pid)
    return int(process.memory_info().rss)
