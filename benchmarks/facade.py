"""The facade's CPU for one call beside its floor: what no facade in Python can do without.

The floor is an RPC on the same kind of loop that only posts a ready form (see null_rpc), and the
encoder alone. The facade runs as in production: policy, access log, TLS upstream.

The floor's calls are made at the facade's pace. A process that waits between calls finds its caches
cold: the very same work costs two to three times the CPU of a tight loop, so a floor without the
waits would be the floor of another load.
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import Final

from benchmarks import clocks, encoder, images, stage
from benchmarks.findings import Findings, at_most, microseconds
from benchmarks.load import Command
from demo.processes import Server

_BARS: Final = {"1 KB": 1.5, "300 KB": 1.25}
_CALLS: Final = (
    ("add", "1 KB", 1),
    ("add", "1 KB", 8),
    ("add", "100 KB", 1),
    ("add", "300 KB", 1),
    ("add", "300 KB", 8),
    ("add", "2.9 MB", 1),
    ("search", "1 KB", 1),
    ("search", "300 KB", 1),
)
"""RPC, size of the image, callers at a time."""
_SECONDS: Final = 1.0
_WARM_S: Final = 0.2


def run(rounds: int) -> Findings:
    """Measure adds and searches of each size."""
    rows: list[tuple[str, ...]] = [
        ("call", "callers", "facade", "an RPC that only posts", "encoder", "facade / floor")
    ]
    measures, numbers = [], {}
    for rpc, size, callers in _CALLS:
        values = measure(rpc, images.SIZES[size], rounds, callers)
        ratio = statistics.median(over_floor(values))
        what = f"{rpc} of {size}, {callers} caller{'s' if callers > 1 else ''}"
        medians = [statistics.median(of_name) for of_name in values.values()]
        rows.append((f"{rpc}, {size}", str(callers), *map(microseconds, medians), f"{ratio:.2f}"))
        numbers[what] = {"cpu_seconds": values, "ratio": ratio}
        if size in _BARS:
            measures.append(at_most(f"facade, {what}: CPU / floor", ratio, _BARS[size]))
    return Findings(title="Facade, CPU for one call", rows=rows, measures=measures, numbers=numbers)


def over_floor(values: dict[str, list[float]]) -> list[float]:
    """Return the facade's CPU over the sum of its floor's parts, for each turn."""
    facade, *parts = values.values()
    return clocks.ratios(facade, [sum(turn) for turn in zip(*parts, strict=True)])


def measure(
    rpc: str, size_bytes: int, rounds: int, callers: int = 1, seconds: float = _SECONDS
) -> dict[str, list[float]]:
    """Return CPU seconds of a call: of the facade, then of each part of the floor."""
    image = images.of_size(size_bytes)
    times = max(3, 20_000_000 // size_bytes // 5)
    with (
        stage.upstream(tls=True) as (url, bundle),
        stage.facade(url, bundle) as facade,
        stage.floor(url, bundle, size_bytes) as floor,
        stage.Load() as load,
    ):
        command = partial(
            Command,
            kind="grpc",
            bearer=stage.BEARER,
            size=size_bytes,
            callers=callers,
            seconds=seconds,
            warm_s=_WARM_S,
            rpc=rpc,
        )
        waits_s = {"facade": 0.0, "floor": 0.0}

        def cpu_s(name: str, server: Server) -> float:
            # What is left of the facade's time for a call after this one's own.
            pause_s = max(0.0, waits_s["facade"] - waits_s[name])
            made = load.run(command(target=server.url, pause_s=pause_s), server)
            waits_s[name] = made.p50_s
            return made.cost_s

        return clocks.in_turns(
            {
                "facade": partial(cpu_s, "facade", facade),
                "floor": partial(cpu_s, "floor", floor),
                "encoder": partial(encoder.cpu_s_of, image, times),
            },
            rounds,
        )
