"""What the facade adds to an upstream that takes 50 ms, beside two floors.

An RPC that only encodes and posts adds what any gRPC server in Python does that calls an upstream:
the answers of a crowd come together, so do its next calls, and one event loop takes one after the
other. Raw urllib3 adds what this machine's threads and sockets add; it is there for the record.
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import Final

from benchmarks import clocks, images, stage
from benchmarks.findings import Findings, at_most, milliseconds
from benchmarks.load import Command, Result

_DELAY_S: Final = 0.050
_SIZES: Final = ("1 KB", "300 KB")
_BAR: Final = 1.25
_CALLERS: Final = 32
_SECONDS: Final = 2.0
_FACADE: Final = "facade"
_FLOOR: Final = "an RPC that encodes and posts"


def run(rounds: int) -> Findings:
    """Measure p50 and p99 of 32 callers, less the upstream's own 50 ms."""
    rows = [("added to 50 ms, 32 callers", "p50", "p99", "calls/s")]
    measures, numbers = [], {}
    for size in _SIZES:
        results = _measure(images.SIZES[size], rounds)
        for who, of_who in results.items():
            p50_s, p99_s, per_s = (
                statistics.median(getattr(result, name) for result in of_who)
                for name in ("p50_s", "p99_s", "per_s")
            )
            added = (milliseconds(p50_s - _DELAY_S), milliseconds(p99_s - _DELAY_S))
            rows.append((f"{size}, {who}", *added, f"{per_s:.0f}"))
            numbers[f"{size}, {who}"] = [vars(result) for result in of_who]
        ratio = statistics.median(
            clocks.ratios(*([_added_s(r) for r in results[who]] for who in (_FACADE, _FLOOR)))
        )
        name = f"p99 added to 50 ms, 32 callers, {size}: facade / floor"
        measures.append(at_most(name, ratio, _BAR))
    return Findings(title="Added latency", rows=rows, measures=measures, numbers=numbers)


def _added_s(result: Result) -> float:
    return result.p99_s - _DELAY_S


def _measure(size_bytes: int, rounds: int) -> dict[str, list[Result]]:
    with (
        stage.upstream(delay_ms=_DELAY_S * 1000) as (url, bundle),
        stage.facade(url, bundle) as facade,
        stage.floor(url, bundle, size_bytes, encodes=True) as floor,
        stage.Load() as load,
        stage.Load() as posts,
    ):
        command = partial(
            Command, size=size_bytes, callers=_CALLERS, seconds=_SECONDS, warm_s=stage.WARM_S
        )
        through = command(kind="grpc", target=facade.url, bearer=stage.BEARER)
        bare = command(kind="grpc", target=floor.url, bearer=stage.BEARER)
        by_urllib3 = command(kind="urllib3", target=url)
        return clocks.in_turns(
            {
                _FACADE: partial(load.run, through),
                _FLOOR: partial(load.run, bare),
                "urllib3": partial(posts.run, by_urllib3),
            },
            max(2, rounds),
        )
