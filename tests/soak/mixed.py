"""A million RPCs of every kind through one facade: does it grow, leak, slow down or misanswer?

Then half as many through another one, of which every other call is cancelled: calls that are
cancelled and abandoned are where gRPC's asyncio servers have leaked.

A facade process stands in front of an upstream process; callers in processes of their own make
the calls of ``mixed_calls`` in rounds. After each round everybody rests, and memory, threads and
descriptors are read.

Growth is the slope of a line through the memory at rest, after a warm-up. Flat means: never more
threads and descriptors at rest than after the first round, when a burst of more calls than there
are places has filled the pools, but for the threads of the token's calls. What comes and goes with
the load is bounded instead: the threads of gRPC's own pool, and the connections to the upstream,
which are kept for a while. Whether age makes it slow is asked side by side: at the end every other
call goes to a young facade, so that both see the same machine; the first and the last tenth are
printed beside it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import urlopen

import grpc
import numpy as np
import psutil

from demo.facade import Facade
from demo.processes import Server
from productsearch import v1
from productsearch_service import limits
from tests.fakes.swift_upstream import SLOW_S
from tests.soak.measures import Measure, at_least, at_most, equal, report
from tests.soak.mixed_callers import Callers
from tests.soak.mixed_calls import BLOCK, CANCELS, METHODS, Mix, Tally, fitting_call, slow_call

FULL: Final = 1_000_000
MANY_CANCELS: Final = 50
"""Of each hundred calls."""
SEED: Final = 20261125
_ROUNDS_MAX: Final = 100
_LONG_RESTS: Final = 20
"""After so many of the rounds everybody rests until the facade has given back what lies free: it
does so each ``limits.TRIM_PERIOD_S``, and until then memory goes up and down by 25 MB."""
_ROUND_CALLS_MIN: Final = 500
_WARM_UP: Final = 0.2
"""Part of the rounds in which pools, heaps and caches reach their size."""
_SLOPE_SIZE_MIN: Final = 500_000
"""Memory at rest goes up and down by 5 MB: with fewer calls that is most of the slope, and nobody
rests long."""
_GROWTH_MB_MAX: Final = 15.0
"""Of fewer calls, from the end of the warm-up on. A thousand requests of 20 KB that were kept would
be 20 MB."""
_AGES_SIZE_MIN: Final = 50_000
"""With fewer calls nobody is old."""
_PER: Final = 100_000
_TOKEN_THREADS_MAX: Final = 4
"""The pool of the token's calls gets these one by one, as tokens are replaced; all others are full
after the burst."""
_GRPC_THREADS_MAX: Final = 16
"""It keeps one a processor, at least 4, and adds some while all of them are busy."""


@dataclass(frozen=True)
class Rest:
    """What a facade holds after some calls, when none is under way."""

    calls: int
    rss_mb: float
    threads: int
    grpc_threads: int
    connections: int
    """Those to the upstream; each is a descriptor beside the others."""
    descriptors: int

    @classmethod
    def of(cls, facade: Facade, upstream: Server, calls: int) -> Rest:
        """Look at a facade."""
        process = psutil.Process(facade.pid)
        threads = [path.read_text() for path in Path(f"/proc/{facade.pid}/task").glob("*/comm")]
        of_grpc = threads.count("event_engine\n")
        port = urlsplit(upstream.url).port
        lines = process.net_connections("tcp")
        kept = sum(bool(line.raddr) and line.raddr.port == port for line in lines)
        return cls(
            calls=calls,
            rss_mb=process.memory_info().rss / 1e6,
            threads=len(threads) - of_grpc,
            grpc_threads=of_grpc,
            connections=kept,
            descriptors=process.num_fds() - kept,
        )


def run(size: int, *, seed: int = SEED, cancels: int = CANCELS) -> list[Measure]:
    """Make ``size`` calls, then a tenth as many at an old and a young facade each.

    ``cancels`` of each hundred are cancelled by their callers.
    """
    print(f"seed {seed}, {cancels} % cancelled")
    mix = Mix(seed, cancels)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        command = [sys.executable, "-m", "tests.fakes.swift_upstream"]
        upstream = stack.enter_context(Server(command, folder / "upstream.log", {}))
        old = stack.enter_context(_facade(folder / "old", upstream))
        callers = stack.enter_context(Callers(mix))
        rounds, rests = _rounds(callers, old, upstream, size)
        whole = Tally()
        for tally in rounds:
            whole.add(tally)
        seen = _seen(upstream)
        print(f"what came of them {dict(whole.kinds)}; cancelled late {whole.late_cancels}")
        print(f"upstream {dict(seen)}")
        measures = [*_answers(size, mix, whole, seen), *_holdings(rests)]
        if size >= _AGES_SIZE_MIN:
            young = stack.enter_context(_facade(folder / "young", upstream))
            measures += _ages(callers, old, young, size, rounds)
        return measures


def _facade(folder: Path, upstream: Server) -> Facade:
    return Facade(
        folder,
        upstream.url,
        {"default": ("k" * 20, "s" * 20)},
        environment={"PRODUCTSEARCH_DRAIN_DELAY_S": "0"},
    )


def _seen(upstream: Server) -> dict[str, int]:
    with urlopen(f"{upstream.url}/seen") as answer:
        seen: dict[str, int] = json.load(answer)
    return seen


def _rounds(
    callers: Callers, facade: Facade, upstream: Server, size: int
) -> tuple[list[Tally], list[Rest]]:
    """Make all calls, in rounds with a rest after each; the first one ends with a burst."""
    tallies: list[Tally] = []
    rests: list[Rest] = []
    count = min(_ROUNDS_MAX, size // _ROUND_CALLS_MIN)
    rests_long = size >= _SLOPE_SIZE_MIN
    rests_after = count // _LONG_RESTS if rests_long else 1
    bounds = [size * number // count for number in range(count + 1)]
    began_s = time.monotonic()
    for first, end in itertools.pairwise(bounds):
        tallies.append(callers.make([facade.url], range(first, end)))
        if len(tallies) == 1:
            _burst(facade)
        time.sleep(SLOW_S * 1.5)  # the upstream's answers to calls that were cancelled
        if len(tallies) % rests_after:
            continue
        if rests_long:
            time.sleep(limits.TRIM_PERIOD_S + 1)
        rests.append(Rest.of(facade, upstream, end))
        print(f"{time.monotonic() - began_s:.0f} s: {rests[-1]}", flush=True)
    return tallies, rests


def _burst(facade: Facade) -> None:
    """Ask for more at once than there are places, and fit enough images to fill that pool."""
    with v1.connect(facade.url) as channel:
        stub = v1.ProductSearchStub(channel)
        fits = [fitting_call(stub, number) for number in range(4 * limits.FIT_AT_ONCE)]
        assert [grpc.StatusCode.OK] * len(fits) == [call.code() for call in fits]
        calls = [slow_call(stub, number) for number in range(4 * limits.RPCS_IN_FLIGHT_MAX)]
        outcomes = Counter(call.code().name for call in calls)
    print(f"burst: {dict(outcomes)}")


def _answers(size: int, mix: Mix, whole: Tally, seen: dict[str, int]) -> Iterator[Measure]:
    """Every call came to what it should, and the mix was the one that was asked for."""
    for what, count in whole.strange.most_common(10):
        print(f"strange: {what}: {count}")
    answered = sum(whole.kinds[method] for method in METHODS) + whole.late_cancels
    yield equal("calls that came to what they should", answered, size)
    yield equal("calls that came to anything else", whole.strange.total(), 0)
    for kind in ("error", "cancel", "large"):
        asked = mix.kinds[kind] / BLOCK
        # Some are answered before they are cancelled.
        least = asked * 0.9 if kind == "cancel" else asked
        yield at_least(f"share of the kind: {kind}", whole.kinds[kind] / size, least)
    yield equal("kinds of RPC", sum(whole.kinds[name] > 0 for name in METHODS), len(METHODS))
    yield at_least("large requests at the upstream", seen["large"], whole.kinds["large"])
    yield at_least("tokens replaced", seen["tokens"], 2)


def _holdings(rests: list[Rest]) -> Iterator[Measure]:
    """Memory, threads and descriptors at rest."""
    warm = rests[round(len(rests) * _WARM_UP) :]
    rss_mb = np.array([rest.rss_mb for rest in warm])
    slope, _ = np.polyfit([rest.calls for rest in warm], rss_mb, 1)
    print(
        f"memory at rest: {rests[0].rss_mb:.1f} MB first, {rss_mb[0]:.1f} warm, "
        f"{rss_mb[-1]:.1f} last, {rss_mb.max():.1f} at most"
    )
    if rests[-1].calls >= _SLOPE_SIZE_MIN:
        yield at_most(f"memory: slope, MB in {_PER} calls", slope * _PER, 1)
    else:
        yield at_most(
            "memory: growth since the warm-up, MB", rss_mb[-1] - rss_mb[0], _GROWTH_MB_MAX
        )
    for name, more in (("threads", _TOKEN_THREADS_MAX - 1), ("descriptors", 0)):
        full, *later = (getattr(rest, name) for rest in rests)
        yield at_most(f"{name}: most, beyond the {full} of full pools", max(later) - full, more)
    most = max(rest.grpc_threads for rest in rests)
    yield at_most("threads of gRPC's own pool: most", most, _GRPC_THREADS_MAX)
    most = max(rest.connections for rest in rests)
    yield at_most("connections to the upstream at rest: most", most, limits.RPCS_IN_FLIGHT_MAX)


def _ages(
    callers: Callers, old: Facade, young: Facade, size: int, rounds: list[Tally]
) -> Iterator[Measure]:
    """Latency of plain calls: old beside young; first and last tenth for the record."""
    tenth = max(1, len(rounds) // 10)
    first, last = (
        _p99_ms([s for one in some for s in one.latencies_s.get(old.url, ())])
        for some in (rounds[:tenth], rounds[-tenth:])
    )
    print(f"p99 of plain calls: first tenth {first:.1f} ms, last {last:.1f} ms")
    callers.make([young.url], range(size, size + size // 50))  # its warm-up
    both = callers.make([old.url, young.url], range(2 * size, 2 * size + size // 5))
    aged, fresh = (_p99_ms(both.latencies_s[facade.url]) for facade in (old, young))
    print(f"p99 side by side: old {aged:.1f} ms, young {fresh:.1f} ms")
    yield at_most("p99 of plain calls, old / young", aged / fresh, 1.1)


def _p99_ms(seconds: list[float]) -> float:
    return float(np.percentile(seconds, 99)) * 1000


def main() -> int:
    """Run as a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=FULL)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments: Any = parser.parse_args()
    seed = arguments.seed
    few = run(arguments.size, seed=seed)
    return report([*few, *run(arguments.size // 2, seed=seed, cancels=MANY_CANCELS)])


if __name__ == "__main__":
    sys.exit(main())
