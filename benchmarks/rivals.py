"""Calls through the facade beside the vendor's Python SDK that calls the same upstream itself."""

from __future__ import annotations

import statistics
from functools import partial
from typing import Final

from benchmarks import clocks, images, stage
from benchmarks.findings import Findings, at_least, milliseconds
from benchmarks.load import Command, Result

_SIZE: Final = images.SIZES["300 KB"]
_SECONDS: Final = 2.0


def run(rounds: int) -> Findings:
    """Compare throughput of 32 callers, and latency of one with a TLS upstream; 300 KB."""
    many = _turns(rounds, callers=32, tls=False)
    one = _turns(rounds, callers=1, tls=True)
    throughput = statistics.median(
        clocks.ratios([r.per_s for r in many["facade"]], [r.per_s for r in many["sdk"]])
    )
    waits, latency = (
        statistics.median(
            clocks.ratios([r.p50_s for r in turns["sdk"]], [r.p50_s for r in turns["facade"]])
        )
        for turns in (many, one)
    )
    rows = [("300 KB", "32 callers, calls/s", "p99", "1 caller, TLS: p50", "p99")]
    for who in ("facade", "sdk"):
        rows.append(
            (
                who,
                f"{statistics.median(r.per_s for r in many[who]):.0f}",
                milliseconds(statistics.median(r.p99_s for r in many[who])),
                milliseconds(statistics.median(r.p50_s for r in one[who])),
                milliseconds(statistics.median(r.p99_s for r in one[who])),
            )
        )
    return Findings(
        title="Facade and the vendor's SDK",
        rows=rows,
        measures=[
            at_least("throughput, 32 callers, 300 KB: facade / SDK", throughput, 12),
            at_least("p50, 32 callers, 300 KB: SDK / facade", waits, 5),
            at_least("p50, 1 caller, 300 KB, TLS: SDK / facade", latency, 5),
        ],
        numbers={
            name: {who: [vars(r) for r in results] for who, results in of_name.items()}
            for name, of_name in (("32 callers", many), ("1 caller, TLS", one))
        },
    )


def _turns(rounds: int, *, callers: int, tls: bool) -> dict[str, list[Result]]:
    with (
        stage.upstream(tls=tls) as (url, bundle),
        stage.facade(url, bundle) as facade,
        stage.Load() as load,
        stage.Load() as sdk,
    ):
        command = partial(
            Command,
            size=_SIZE,
            callers=callers,
            seconds=_SECONDS,
            warm_s=stage.WARM_S,
            rpc="search",
        )
        through = command(kind="grpc", target=facade.url, bearer=stage.BEARER)
        direct = command(kind="sdk", target=url)
        return clocks.in_turns(
            {"facade": partial(load.run, through), "sdk": partial(sdk.run, direct)},
            max(2, rounds // 2),
        )
