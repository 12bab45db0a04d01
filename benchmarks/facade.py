"""The facade's CPU for one call beside its floor: what no facade in Python can do without.

The floor is the sum of a null RPC with the same payload, the encoder alone, and a raw urllib3
post of the ready body. The facade runs as in production: policy, access log, TLS upstream.

The floor's RPCs and posts are made at the facade's pace. A process that waits between calls finds
its caches cold: the very same work costs two to three times the CPU of a tight loop, so a floor
without the waits would be the floor of another load.
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import Final

from benchmarks import clocks, pictures, stage
from benchmarks.findings import Findings, at_most, microseconds
from benchmarks.load import Command
from demo.processes import Server
from productsearch_service.upstream import form

_BARS: Final = {"1 KB": 1.8, "300 KB": 1.3}
_SECONDS: Final = 1.0


def run(rounds: int) -> Findings:
    """Measure adds and searches of each size, one caller at a time."""
    rows: list[tuple[str, ...]] = [
        ("call", "facade", "null RPC", "encoder", "urllib3", "facade / floor")
    ]
    measures, numbers = [], {}
    for rpc, size in [("add", name) for name in pictures.SIZES] + [
        ("search", "1 KB"),
        ("search", "300 KB"),
    ]:
        values = measure(rpc, pictures.SIZES[size], rounds)
        ratio = statistics.median(over_floor(values))
        rows.append(
            (
                f"{rpc}, {size}",
                *(microseconds(statistics.median(of_name)) for of_name in values.values()),
                f"{ratio:.2f}",
            )
        )
        numbers[f"{rpc}, {size}"] = {"cpu_seconds": values, "ratio": ratio}
        if size in _BARS:
            name = f"facade, {rpc} of {size}: CPU / floor"
            measures.append(at_most(name, ratio, _BARS[size]))
    return Findings(title="Facade, CPU for one call", rows=rows, measures=measures, numbers=numbers)


def over_floor(values: dict[str, list[float]]) -> list[float]:
    """Return the facade's CPU over the sum of its floor's parts, for each turn."""
    facade, *parts = values.values()
    return clocks.ratios(facade, [sum(turn) for turn in zip(*parts, strict=True)])


def measure(
    rpc: str, size_bytes: int, rounds: int, callers: int = 1, seconds: float = _SECONDS
) -> dict[str, list[float]]:
    """Return CPU seconds of a call: of the facade, then of each part of the floor."""
    picture = pictures.of_size(size_bytes)
    times = max(3, 20_000_000 // size_bytes // 5)
    with (
        stage.upstream(tls=True) as (url, bundle),
        stage.facade(url, bundle) as facade,
        stage.null_rpc() as null_rpc,
        stage.Load() as load,
        stage.Load() as posts,
    ):
        command = partial(Command, size=size_bytes, callers=callers, seconds=seconds, rpc=rpc)

        waits_s = dict.fromkeys(("facade", "null RPC", "urllib3"), 0.0)

        def pause_s(name: str) -> float:
            """Return what is left of the facade's time for a call after this one's own."""
            return max(0.0, waits_s["facade"] - waits_s[name])

        def rpcs(name: str, server: Server) -> float:
            made = load.run(
                command(kind="grpc", target=server.url, bearer=stage.BEARER, pause_s=pause_s(name)),
                server,
            )
            waits_s[name] = made.p50_s
            return made.server_cpu_s / made.calls

        def posted() -> float:
            made = posts.run(
                command(kind="urllib3", target=url, bundle=str(bundle), pause_s=pause_s("urllib3"))
            )
            waits_s["urllib3"] = made.p50_s
            return made.cpu_s / made.calls

        return clocks.in_turns(
            {
                "facade": partial(rpcs, "facade", facade),
                "null RPC": partial(rpcs, "null RPC", null_rpc),
                "encoder": partial(
                    clocks.cpu_s, partial(form.pieces, {"image": picture, "brief": "b"}), times
                ),
                "urllib3": posted,
            },
            rounds,
        )
