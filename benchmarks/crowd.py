"""What a call costs, and how many are made, from one caller to 512.

A replica works on 64 calls at a time and refuses more; who is refused comes back as RetryInfo
says. CPU is counted for each successful call, so that refusals, where there are any, are part of
its cost. Over an upstream that answers at once most of a crowd waits in gRPC, and few are refused.

The machine has a curve of its own: a core that waits between the calls of one caller falls asleep
and finds its caches cold. An RPC that only encodes and posts (see null_rpc) shows it, in the same
turns, and the facade's curve is to be no steeper. Turns are short, and each is compared with its
own round, because the cost of all calls together changes by half from one minute to the next.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from benchmarks import clocks, images, stage
from benchmarks.findings import Findings, at_least, at_most, microseconds
from benchmarks.load import Command, Result
from demo.processes import Server

_CALLERS: Final = (1, 8, 32, 64, 256, 512)
_CURVE: Final = (1, 8, 64, 512)
_SECONDS: Final = 1.0
_WARM_S: Final = 1.0
_FACADE: Final = "facade"
_FLOOR: Final = "an RPC that encodes and posts"


_Round = Mapping[int, Result]
"""What one server did, by the number of callers."""


def run(rounds: int) -> Findings:
    """Measure adds of 1 KB and 300 KB."""
    rows = [("callers", "size", "calls/s", "p99", "refusals for one call", "CPU", f"CPU, {_FLOOR}")]
    measures = []
    numbers: dict[str, Any] = {}
    for size in ("1 KB", "300 KB"):
        measured = _measure(images.SIZES[size], rounds)
        facade, floor = measured[_FACADE], measured[_FLOOR]
        for n in _CALLERS:
            results = [points[n] for points in facade]
            rows.append(
                (
                    str(n),
                    size,
                    f"{statistics.median(result.per_s for result in results):.0f}",
                    f"{statistics.median(result.p99_s for result in results) * 1000:.0f} ms",
                    f"{statistics.median(result.refused / result.calls for result in results):.2f}",
                    microseconds(_cpu_s(facade, n)),
                    microseconds(_cpu_s(floor, n)) if n in _CURVE else "",
                )
            )
        steepness, of_floor = most_over_least(_costs(facade)), most_over_least(_costs(floor))
        rows.append(("most / least", size, "", "", "", f"{steepness:.2f}", f"{of_floor:.2f}"))
        many_over_some = [points[256].per_s / points[32].per_s for points in facade]
        measures += [
            at_least(
                f"{size}: calls/s of 256 callers / of 32", statistics.median(many_over_some), 0.85
            ),
            at_most(
                f"{size}: CPU per call, 1 to 512 callers, most / least: facade / floor",
                steepness / of_floor,
                1.0,
            ),
        ]
        numbers[size] = {
            "callers": list(_CALLERS),
            "cpu_seconds": [_cpu_s(facade, n) for n in _CALLERS],
            "per_s": [statistics.median(points[n].per_s for points in facade) for n in _CALLERS],
            "rounds_cpu_seconds": _costs(facade),
            "floor_callers": list(_CURVE),
            "floor_cpu_seconds": [_cpu_s(floor, n) for n in _CURVE],
            "floor_rounds_cpu_seconds": _costs(floor),
            "most_over_least": steepness,
            "floor_most_over_least": of_floor,
        }
    return Findings(title="Many callers", rows=rows, measures=measures, numbers=numbers)


def most_over_least(rounds: Sequence[Sequence[float]]) -> float:
    """Return a curve's highest point over its lowest; each round is one measure of the curve.

    A point is the median of its ratio to its own round's mean.
    """
    ratios = [[cost / statistics.geometric_mean(costs) for cost in costs] for costs in rounds]
    curve: list[float] = [statistics.median(of_point) for of_point in zip(*ratios, strict=True)]
    return max(curve) / min(curve)


def _costs(rounds: Sequence[_Round]) -> list[list[float]]:
    return [[points[n].cost_s for n in _CURVE] for points in rounds]


def _cpu_s(rounds: Sequence[_Round], callers: int) -> float:
    return statistics.median(points[callers].cost_s for points in rounds)


def _measure(size_bytes: int, rounds: int) -> dict[str, list[_Round]]:
    with (
        stage.upstream() as (url, bundle),
        stage.facade(url, bundle) as facade,
        stage.floor(url, bundle, size_bytes, encodes=True) as floor,
        stage.Load() as load,
    ):
        command = partial(Command, kind="grpc", bearer=stage.BEARER, size=size_bytes)

        def sweep(server: Server, crowds: Sequence[int]) -> _Round:
            points = {}
            warm_s = stage.WARM_S
            for callers in crowds:
                points[callers] = load.run(
                    command(target=server.url, callers=callers, warm_s=warm_s, seconds=_SECONDS),
                    server,
                )
                warm_s = _WARM_S
            return points

        return clocks.in_turns(
            {
                _FACADE: partial(sweep, facade, _CALLERS),
                _FLOOR: partial(sweep, floor, _CURVE),
            },
            max(2, rounds),
        )
