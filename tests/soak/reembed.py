"""A library's embedding is changed, killed in the middle, while it is searched and added to."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from demo.processes import Engine
from tests.engine.calling import Caller
from tests.pictures import jpeg
from tests.reembed.using import TO, Use, kill_in_the_middle, library, listed
from tests.soak.measures import Measure, at_least, equal, report

FROM: Final = "compact-2"
"""What libraries had by default before ``TO``."""

_CALLERS: Final = 4


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many images are stored, and how many of them are looked for at the end."""

    images: int
    searched: int


FULL: Final = Size(images=20_000, searched=500)


def run(size: Size) -> list[Measure]:
    """Fill a library, change its embedding under load with a kill, and look for its images."""
    environment = {"PRODUCTSEARCH_ENGINE_EMBEDDING": FROM}
    with Engine(environment=environment) as engine, library(engine, "soak") as caller:
        signs = _fill(engine, caller, size.images)
        number = listed(engine, "soak")["id"]
        with Use(engine, caller, 10**6) as use:
            killed_at = kill_in_the_middle(engine, "soak", number)
            print(engine.command("reembed", "soak", "--embedding", TO), end="")
        step = max(1, size.images // size.searched)
        lost = sum(
            caller.call("search", image=jpeg(seed), rn="1")["result"][0]["cont_sign"] != sign
            for seed, sign in [*[*enumerate(signs)][::step], *use.added]
        )
        stored = listed(engine, "soak")["image_count"]
    return [
        at_least("vectors that were stored before the kill", killed_at, 1),
        at_least("calls meanwhile", use.calls, 100),
        equal("calls that failed", len(use.failures), 0),
        equal("images lost or found under another sign", lost, 0),
        equal("images stored", stored, size.images + len(use.added)),
    ]


def _fill(engine: Engine, caller: Caller, images: int) -> list[str]:
    callers = [Caller(engine.url, caller.api_key, caller.secret_key) for _ in range(_CALLERS)]

    def add(part: int) -> list[tuple[int, str]]:
        return [
            (seed, callers[part].call("add", image=jpeg(seed), brief=str(seed))["cont_sign"])
            for seed in range(part, images, _CALLERS)
        ]

    with ThreadPoolExecutor(_CALLERS) as pool:
        found = dict(pair for pairs in pool.map(add, range(_CALLERS)) for pair in pairs)
    return [found[seed] for seed in range(images)]


if __name__ == "__main__":
    sys.exit(report(run(FULL)))
