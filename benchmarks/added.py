"""What the facade adds to an upstream that takes 50 ms, beside two floors.

Raw urllib3 adds what this machine's threads and sockets add. An RPC that only posts a ready form
adds what any gRPC server in Python does that calls an upstream: the answers of a crowd come
together, so do its next calls, and the interpreter takes one after the other.
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import Final

from benchmarks import clocks, pictures, stage
from benchmarks.findings import Findings, at_most, milliseconds
from benchmarks.load import Command

_DELAY_S: Final = 0.050
_BARS_MS: Final = {"1 KB": 10, "300 KB": 50}
_CALLERS: Final = 32
_SECONDS: Final = 3.0


def run(rounds: int) -> Findings:
    """Measure p50 and p99 of 32 callers, less the upstream's own 50 ms."""
    rows = [("added to 50 ms, 32 callers", "p50", "p99", "calls/s")]
    measures, numbers = [], {}
    for size, bar_ms in _BARS_MS.items():
        with (
            stage.upstream(delay_ms=_DELAY_S * 1000) as (url, bundle),
            stage.facade(url, bundle) as facade,
            stage.null_rpc("--post", url, "--size", str(pictures.SIZES[size])) as null_rpc,
            stage.Load() as load,
            stage.Load() as posts,
        ):
            command = partial(
                Command,
                size=pictures.SIZES[size],
                callers=_CALLERS,
                seconds=_SECONDS,
                warm_s=stage.WARM_S,
            )
            through = command(kind="grpc", target=facade.url, bearer=stage.BEARER)
            bare = command(kind="grpc", target=null_rpc.url)
            floor = command(kind="urllib3", target=url)
            results = clocks.in_turns(
                {
                    "facade": partial(load.run, through),
                    "an RPC that posts": partial(load.run, bare),
                    "urllib3": partial(posts.run, floor),
                },
                max(2, rounds // 2),
            )
        for who, of_who in results.items():
            p50_s, p99_s, per_s = (
                statistics.median(getattr(result, name) for result in of_who)
                for name in ("p50_s", "p99_s", "per_s")
            )
            added = (milliseconds(p50_s - _DELAY_S), milliseconds(p99_s - _DELAY_S))
            rows.append((f"{size}, {who}", *added, f"{per_s:.0f}"))
            numbers[f"{size}, {who}"] = [vars(result) for result in of_who]
            if who == "facade":
                name = f"p99 added to 50 ms, 32 callers, {size} [ms]"
                measures.append(at_most(name, (p99_s - _DELAY_S) * 1000, bar_ms))
    return Findings(title="Added latency", rows=rows, measures=measures, numbers=numbers)
