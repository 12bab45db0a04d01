"""What a call costs, and how many are made, from one caller to 512.

A replica works on 64 calls at a time and refuses more; who is refused comes back as RetryInfo
says. CPU is counted for each successful call, so that refusals are part of its cost.
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any, Final

from benchmarks import clocks, pictures, stage
from benchmarks.findings import Findings, at_least, at_most, microseconds
from benchmarks.load import Command, Result

_CALLERS: Final = (1, 8, 32, 64, 256, 512)
_CURVE: Final = (1, 8, 64, 512)
_SECONDS: Final = 2.5


def run(rounds: int) -> Findings:
    """Measure adds of 1 KB and 300 KB."""
    rows = [("callers", "size", "calls/s", "CPU for one call", "refusals for one call", "p99")]
    measures = []
    numbers: dict[str, Any] = {}
    for size in ("1 KB", "300 KB"):
        points = _measure(pictures.SIZES[size], max(2, rounds // 2))
        cpu_s = {n: statistics.median(cpu for cpu, _ in of_n) for n, of_n in points.items()}
        per_s = {n: statistics.median(r.per_s for _, r in of_n) for n, of_n in points.items()}
        for n, of_n in points.items():
            refused = statistics.median(result.refused / result.calls for _, result in of_n)
            p99_s = statistics.median(result.p99_s for _, result in of_n)
            rows.append(
                (
                    str(n),
                    size,
                    f"{per_s[n]:.0f}",
                    microseconds(cpu_s[n]),
                    f"{refused:.2f}",
                    f"{p99_s * 1000:.0f} ms",
                )
            )
        curve = [cpu_s[n] for n in _CURVE]
        measures += [
            at_least(f"{size}: calls/s of 256 callers / of 32", per_s[256] / per_s[32], 0.85),
            at_most(
                f"{size}: CPU per call, 1 to 512 callers, most / least",
                max(curve) / min(curve),
                1.3,
            ),
        ]
        numbers[size] = {
            "callers": list(_CALLERS),
            "cpu_seconds": list(cpu_s.values()),
            "per_s": list(per_s.values()),
        }
    return Findings(title="Many callers", rows=rows, measures=measures, numbers=numbers)


def _measure(size_bytes: int, rounds: int) -> dict[int, list[tuple[float, Result]]]:
    with (
        stage.upstream() as (url, bundle),
        stage.facade(url, bundle) as facade,
        stage.Load() as load,
    ):

        def point(callers: int) -> tuple[float, Result]:
            command = Command(
                kind="grpc",
                target=facade.url,
                bearer=stage.BEARER,
                size=size_bytes,
                callers=callers,
                seconds=_SECONDS,
            )
            load.warm(command)
            before_s = stage.cpu_s(facade)
            made = load.run(command)
            return (stage.cpu_s(facade) - before_s) / made.calls, made

        turns = clocks.in_turns({str(n): partial(point, n) for n in _CALLERS}, rounds)
        return {int(n): results for n, results in turns.items()}
