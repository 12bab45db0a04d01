"""What a small search waits for while others push large images through the same facade."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Final

from benchmarks import clocks, images, stage
from benchmarks.findings import Findings, at_least, at_most, milliseconds
from benchmarks.load import Command, Result
from demo.facade import Facade

_SECONDS: Final = 2.0
_ADDERS: Final = 4


def run(rounds: int) -> Findings:
    """Measure a search of 1 KB alone, and beside four callers who add 2.9 MB each."""
    with (
        stage.upstream() as (url, bundle),
        stage.facade(url, bundle) as facade,
        stage.Load() as searcher,
        stage.Load() as adder,
    ):
        pushed: list[Result] = []

        def pushing() -> Result:
            searches, adds = beside(facade, searcher, adder)
            pushed.append(adds)
            return searches

        turns: dict[str, Callable[[], Result]] = {
            "alone": partial(searcher.run, _search(facade)),
            "beside": pushing,
        }
        results = clocks.in_turns(turns, max(2, rounds // 2))
    p50_s = {name: [r.p50_s for r in of_name] for name, of_name in results.items()}
    ratio = statistics.median(clocks.ratios(p50_s["beside"], p50_s["alone"]))
    rows = [("search of 1 KB", "p50", "p99", "adds of 2.9 MB meanwhile")]
    for name, of_name in results.items():
        beside_it = statistics.median(r.per_s for r in pushed) if name == "beside" else 0
        rows.append(
            (
                name,
                milliseconds(statistics.median(p50_s[name])),
                milliseconds(statistics.median(r.p99_s for r in of_name)),
                f"{beside_it:.0f}/s",
            )
        )
    return Findings(
        title="Small beside large",
        rows=rows,
        measures=[
            at_least(
                "adds of 2.9 MB meanwhile, of the slowest turn, a second",
                min(r.per_s for r in pushed),
                1,
            ),
            at_most("p50 of a 1 KB search beside 4 callers of 2.9 MB / alone", ratio, 6),
        ],
        numbers={name: [vars(r) for r in of_name] for name, of_name in results.items()},
    )


def beside(facade: Facade, searcher: stage.Load, adder: stage.Load) -> tuple[Result, Result]:
    """Return what came of one caller's small searches beside large adds, and of these."""
    adder.begin(
        Command(
            kind="grpc",
            target=facade.url,
            bearer=stage.BEARER,
            size=images.SIZES["2.9 MB"],
            callers=_ADDERS,
            seconds=_SECONDS + 1,
        )
    )
    searches = searcher.run(_search(facade))
    return searches, adder.end()


def _search(facade: Facade) -> Command:
    return Command(
        kind="grpc",
        target=facade.url,
        bearer=stage.BEARER,
        size=images.SIZES["1 KB"],
        callers=1,
        seconds=_SECONDS,
        rpc="search",
    )
