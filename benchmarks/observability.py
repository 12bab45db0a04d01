"""What a call pays for being seen: metrics and lines, and traces, beside a facade that is blind.

The smallest call is measured, of which it is the largest part. Spans go to a collector of its own
process that takes them and does nothing.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from functools import partial
from typing import Final

from benchmarks import clocks, images, stage
from benchmarks.findings import Findings, at_most, microseconds
from benchmarks.load import Command
from demo.processes import Server

_BLIND: Final = "no metrics, no lines"
_SEEN: Final = "metrics and lines"
_SHARES: Final = {"and 1 % of the calls traced": 0.01, "and all calls traced": 1.0}
_BARS: Final = {
    _SEEN: 1.05,
    "and 1 % of the calls traced": 1.08,
    "and all calls traced": 1.4,
}
_CALLERS: Final = 8
_SECONDS: Final = 1.0
_WARM_S: Final = 0.3
_TURNS_MIN: Final = 9
"""Many short turns: what else the machine does is the same in neighbouring ones."""


def run(rounds: int) -> Findings:
    """Measure the CPU of an add of 1 KB, 8 callers, in turns."""
    values = _measure(rounds)
    rows = [("add of 1 KB, 8 callers", "CPU for one call", "/ blind")]
    measures = []
    for name, of_name in values.items():
        ratio = statistics.median(clocks.ratios(of_name, values[_BLIND]))
        rows.append((name, microseconds(statistics.median(of_name)), f"{ratio:.3f}"))
        if name in _BARS:
            told = f"observability, {name}: CPU a call / blind"
            measures.append(at_most(told, ratio, _BARS[name]))
    return Findings(title="Observability", rows=rows, measures=measures, numbers=dict(values))


def _measure(rounds: int) -> dict[str, list[float]]:
    with ExitStack() as stack:
        url, bundle = stack.enter_context(stage.upstream())
        collector, _ = stack.enter_context(stage.upstream())
        json_lines = {"PRODUCTSEARCH_LOG_FORMAT": "json"}
        start = partial(stage.facade, url, bundle)
        facades: dict[str, Server] = {
            _BLIND: stack.enter_context(start(module="benchmarks.blind_facade")),
            _SEEN: stack.enter_context(start(settings=json_lines)),
        }
        for name, share in _SHARES.items():
            traced = {
                "PRODUCTSEARCH_TRACES_ENDPOINT": f"{collector}/v1/traces",
                "PRODUCTSEARCH_TRACES_SHARE": str(share),
            }
            facades[name] = stack.enter_context(start(settings=json_lines | traced))
        load = stack.enter_context(stage.Load())

        def cpu_s(facade: Server) -> float:
            command = Command(
                kind="grpc",
                target=facade.url,
                bearer=stage.BEARER,
                size=images.SIZES["1 KB"],
                callers=_CALLERS,
                seconds=_SECONDS,
                warm_s=_WARM_S,
            )
            return load.run(command, facade).cost_s

        return clocks.in_turns(
            {name: partial(cpu_s, facade) for name, facade in facades.items()},
            max(_TURNS_MIN, rounds),
        )
