"""What a call pays for being seen: metrics and lines, and traces, beside a facade that is blind.

The smallest call is measured, of which it is the largest part. Spans go to a collector of its own
process that takes them and does nothing.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks import clocks, images, stage, turning_facade
from benchmarks.findings import Findings, at_most, microseconds
from benchmarks.load import Command

_BARS: Final = dict(zip(turning_facade.MODES[1:], (1.05, 1.08, 1.4), strict=True))
_CALLERS: Final = 8
_ROUND_S: Final = 1.0
"""A turn of each mode, on a busy machine too."""
_ROUNDS_MIN: Final = 20
_ROUNDS_EACH: Final = 20
"""A turn is short: what else the machine does is then the same in neighbouring ones."""


def run(rounds: int) -> Findings:
    """Measure the CPU of an add of 1 KB, 8 callers, in turns."""
    values = _measure(rounds * _ROUNDS_EACH)
    blind = values[turning_facade.BLIND]
    rows = [("add of 1 KB, 8 callers", "CPU for one call", "/ blind", "middle half")]
    measures = []
    for name, of_name in values.items():
        ratios = clocks.Spread.of(clocks.ratios(of_name, blind))
        cost = microseconds(statistics.median(of_name))
        spread = f"{ratios.low:.3f} to {ratios.high:.3f}"
        rows.append((name, cost, f"{ratios.median:.3f}", spread))
        if name in _BARS:
            told = f"observability, {name}: CPU a call / blind"
            measures.append(at_most(told, ratios.median, _BARS[name]))
    return Findings(title="Observability", rows=rows, measures=measures, numbers=dict(values))


def _measure(rounds: int) -> dict[str, list[float]]:
    """Return CPU seconds of a call in each turn by mode."""
    with ExitStack() as stack:
        url, bundle = stack.enter_context(stage.upstream())
        collector, _ = stack.enter_context(stage.upstream())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="productsearch-")))
        settings = {
            "PRODUCTSEARCH_LOG_FORMAT": "json",
            "PRODUCTSEARCH_TRACES_ENDPOINT": f"{collector}/v1/traces",
            turning_facade.FILE: str(folder / "turns"),
        }
        facade = stack.enter_context(
            stage.facade(url, bundle, module="benchmarks.turning_facade", settings=settings)
        )
        load = stack.enter_context(stage.Load())
        command = Command(
            kind="grpc",
            target=facade.url,
            bearer=stage.BEARER,
            size=images.SIZES["1 KB"],
            callers=_CALLERS,
            seconds=rounds * _ROUND_S,
            warm_s=stage.WARM_S,
        )
        load.run(command)
        facade.stop()
        found = json.loads((folder / "turns").read_text())[1:]
    if len(found) < _ROUNDS_MIN:
        raise AssertionError(f"only {len(found)} rounds: the facade was not busy all the time")
    return {mode: [turn[mode] for turn in found] for mode in turning_facade.MODES}
