"""A facade in Go as one would write it (``benchmarks/go``), beside ours; there is no bar.

``python -m benchmarks go`` builds and runs it. It has no admission, retries, pacing, policy or
access log: it shows what the language costs, and what an encoder costs that is a loop over bytes.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import clocks, images, stage
from benchmarks.checkout import ROOT
from benchmarks.findings import Findings, microseconds
from benchmarks.load import Command
from demo.processes import Server

_SOURCE: Final = ROOT / "benchmarks" / "go"
_BINARY: Final = ROOT / "build" / "bench" / "go-facade"
_SIZES: Final = ("1 KB", "300 KB")
_CALLERS: Final = 8
_SECONDS: Final = 1.0


def run(rounds: int) -> Findings:
    """Measure adds of 1 KB and 300 KB by 8 callers."""
    _build()
    rows: list[tuple[str, ...]] = [
        (f"{_CALLERS} callers", "ours: calls/s", "CPU", "Go: calls/s", "CPU", "CPU, Go / ours")
    ]
    numbers = {}
    with ExitStack() as stack:
        url, bundle = stack.enter_context(stage.upstream())
        log = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "log"
        servers: dict[str, Server] = {
            "ours": stack.enter_context(stage.facade(url, bundle)),
            "Go": stack.enter_context(Server([str(_BINARY), "-upstream", url], log, {})),
        }
        load = stack.enter_context(stage.Load())
        for size in _SIZES:
            command = partial(
                Command,
                kind="grpc",
                bearer=stage.BEARER,
                size=images.SIZES[size],
                callers=_CALLERS,
                seconds=_SECONDS,
                warm_s=stage.WARM_S,
            )
            turns = clocks.in_turns(
                {
                    who: partial(load.run, command(target=server.url), server)
                    for who, server in servers.items()
                },
                max(2, rounds),
            )
            costs_s = {who: [r.cost_s for r in results] for who, results in turns.items()}
            cells = [
                cell
                for who, results in turns.items()
                for cell in (
                    f"{statistics.median(r.per_s for r in results):.0f}",
                    microseconds(statistics.median(costs_s[who])),
                )
            ]
            ratio = statistics.median(clocks.ratios(costs_s["Go"], costs_s["ours"]))
            rows.append((size, *cells, f"{ratio:.2f}"))
            numbers[size] = {who: [vars(r) for r in results] for who, results in turns.items()}
    return Findings(title="A facade in Go", rows=rows, measures=[], numbers=numbers)


def _build() -> None:
    go = shutil.which("go")
    if go is None:
        raise SystemExit("the Go facade needs Go; see https://go.dev/dl")
    _BINARY.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([go, "build", "-o", str(_BINARY), "."], cwd=_SOURCE, check=True)
