"""This checkout's facade beside the one of another commit: throughput and CPU in one run.

Both facades are processes with the same settings, and are called in short turns, one after the
other, over the same upstream. What is told is the median of the turns' ratios.

The bars are for 5d01850, the last commit with threads. Its facade keeps them on one core that its
interpreter chooses within two seconds of getting busy, so each turn counts after that.
Where the other commit has that setting, it is measured without it too.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Final

from benchmarks import clocks, images, stage
from benchmarks.checkout import Checkout, here
from benchmarks.findings import Findings, at_least, at_most, microseconds
from benchmarks.load import Command, Result
from demo.processes import Server
from tests.soak.measures import Measure

CALLERS: Final = (1, 8, 64, 512)
SIZES: Final = ("1 KB", "300 KB")
SECONDS: Final = 1.0
_WARM_S: Final = 2.2
_COMPARED: Final = 8
"""As many callers as keep both cores of a small machine busy, and no more."""
_SPEED: Final = 1.0
"""Least calls a second with that many callers, in those of the other commit."""
_SPEED_WITHOUT_ONE_CORE: Final = {"1 KB": 1.6, "300 KB": 1.3}
_SPEED_ELSEWHERE: Final = 0.95
_CPU: Final = 1.05

_Turns = Mapping[str, list[Result]]
_HERE, _THERE, _UNPINNED = "here", "there", "there, one_core = false"


def run(
    rounds: int, revision: str, callers: tuple[int, ...] = CALLERS, seconds: float = SECONDS
) -> Findings:
    """Measure adds of 1 KB and 300 KB. Raises CheckoutError."""
    other = Checkout.of(revision)
    title = f"{here()} against {other.sha[:7]}"
    rows: list[tuple[str, ...]] = [
        ("size", "callers", "commit", "calls/s", "p50", "p99", "CPU", "calls/s ratio", "CPU ratio")
    ]
    measures: list[Measure] = []
    numbers = {}
    with ExitStack() as stack:
        url, bundle = stack.enter_context(stage.upstream())
        start = partial(stage.facade, url, bundle)
        of_other = partial(start, python=other.python)
        facades = {
            _HERE: stack.enter_context(start()),
            _THERE: stack.enter_context(of_other(settings=other.environment)),
        }
        if other.has_one_core:
            unpinned = {**other.environment, "PRODUCTSEARCH_ONE_CORE": "false"}
            facades[_UNPINNED] = stack.enter_context(of_other(settings=unpinned))
        load = stack.enter_context(stage.Load())
        for size in SIZES:
            for n in callers:
                turns = _measure(load, facades, images.SIZES[size], n, seconds, rounds)
                rows += _rows(size, n, turns)
                measures += measures_of(size, n, turns)
                numbers[f"{size}, {n} callers"] = {
                    who: [vars(result) for result in results] for who, results in turns.items()
                }
    return Findings(title=title, rows=rows, measures=measures, numbers=numbers)


def _measure(
    load: stage.Load,
    facades: Mapping[str, Server],
    size_bytes: int,
    callers: int,
    seconds: float,
    rounds: int,
) -> _Turns:
    """Return each facade's turns; ``one_core = false`` is measured only where it is compared."""
    command = partial(
        Command,
        kind="grpc",
        bearer=stage.BEARER,
        size=size_bytes,
        callers=callers,
        seconds=seconds,
        warm_s=_WARM_S,
    )
    return clocks.in_turns(
        {
            who: partial(load.run, command(target=server.url), server)
            for who, server in facades.items()
            if who != _UNPINNED or callers == _COMPARED
        },
        max(2, rounds),
    )


def _rows(size: str, callers: int, turns: _Turns) -> list[tuple[str, ...]]:
    def median(results: list[Result], name: str) -> float:
        return statistics.median([float(getattr(result, name)) for result in results])

    return [
        (
            size,
            str(callers),
            who,
            f"{median(results, 'per_s'):.0f}",
            f"{median(results, 'p50_s') * 1000:.1f} ms",
            f"{median(results, 'p99_s') * 1000:.1f} ms",
            microseconds(median(results, "cost_s")),
            f"{_ratio(turns, 'per_s', who):.2f}" if who != _HERE else "",
            f"{_ratio(turns, 'cost_s', who):.2f}" if who != _HERE else "",
        )
        for who, results in turns.items()
    ]


def measures_of(size: str, callers: int, turns: _Turns) -> list[Measure]:
    """Return what one load came to against its bars, from the turns of each facade."""
    load = f"{size}, {callers} caller{'s' if callers > 1 else ''}"
    speed = _SPEED if callers == _COMPARED else _SPEED_ELSEWHERE
    measures = [
        at_least(f"{load}: calls/s, here / there", _ratio(turns, "per_s", _THERE), speed),
        at_most(f"{load}: CPU a call, here / there", _ratio(turns, "cost_s", _THERE), _CPU),
    ]
    if _UNPINNED in turns:
        measures.append(
            at_least(
                f"{load}: calls/s, here / {_UNPINNED}",
                _ratio(turns, "per_s", _UNPINNED),
                _SPEED_WITHOUT_ONE_CORE[size],
            )
        )
    return measures


def _ratio(turns: _Turns, name: str, other: str) -> float:
    """Return the median of the turns' ratios of one value, here over there."""
    return statistics.median(
        clocks.ratios(*([getattr(result, name) for result in turns[who]] for who in (_HERE, other)))
    )
