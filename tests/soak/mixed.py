"""A million RPCs of every kind through one facade: does it grow, leak, slow down or misanswer?

A facade process stands in front of an upstream process; callers in processes of their own make
the calls of ``mixed_calls`` in rounds. After each round everybody rests, and memory, threads and
descriptors are read.

Growth is the slope of a line through the memory at rest, after a warm-up. Flat means: never more
threads and descriptors at rest than after the first round, when a burst of more calls than there
are places has filled all pools. Whether age
makes it slow is asked side by side: at the end every other call goes to a young facade, so that
both see the same machine; the first and the last tenth are printed beside it.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import numpy as np
import psutil

from demo.facade import Facade
from demo.processes import Server
from productsearch import v1
from productsearch_service import limits
from tests.fakes.swift_upstream import SLOW_S
from tests.soak.measures import Measure, report
from tests.soak.mixed_calls import BLOCK, KINDS, METHODS, Plan, Tally, make, slow_call

FULL: Final = 1_000_000
SEED: Final = 20261125

_ROUNDS_MAX: Final = 100
_ROUND_CALLS_MIN: Final = 500
_WARM_UP: Final = 0.2
"""Part of the rounds in which pools, heaps and caches reach their size."""
_PROCESSES: Final = 2
_CALLERS: Final = 20
"""Threads of each process."""
_SLOPE_SIZE_MIN: Final = 100_000
"""With fewer calls a slope tells more of the warm-up than of growth."""
_PER: Final = 100_000


@dataclass(frozen=True)
class Rest:
    """What a facade holds after some calls, when none is under way."""

    calls: int
    rss_mb: float
    threads: int
    descriptors: int

    @classmethod
    def of(cls, facade: Facade, calls: int) -> Rest:
        """Look at a facade."""
        process = psutil.Process(facade.pid)
        rss_mb = process.memory_info().rss / 1e6
        return cls(calls, rss_mb, process.num_threads(), process.num_fds())


class Callers:
    """Processes of callers; a context manager."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._pool = ProcessPoolExecutor(_PROCESSES, mp_context=get_context("spawn"))

    def __enter__(self) -> Callers:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def make(self, facades: Sequence[str], numbers: range) -> Tally:
        """Make the calls of these numbers, at each facade in turn."""
        parts = [numbers[part::_PROCESSES] for part in range(_PROCESSES)]
        tally = Tally()
        for made in self._pool.map(
            _make_all, *zip(*[(facades, self._seed, part) for part in parts], strict=True)
        ):
            tally.add(made)
        return tally


@functools.cache
def _stub(facade: str) -> v1.ProductSearchStub:
    """Return this process's one channel to a facade; it ends with the process."""
    return v1.ProductSearchStub(v1.connect(facade))


def _make_all(facades: Sequence[str], seed: int, numbers: range) -> Tally:
    """Make calls from many threads; each thread has a tally of its own."""
    tallies = [Tally() for _ in range(_CALLERS)]

    def call(caller: int) -> None:
        mine = numbers[caller::_CALLERS]
        for at, number in enumerate(mine):
            facade = facades[(caller + at) % len(facades)]
            # When only faults that are tried again are left, the breaker opens, as it should.
            plan = Plan.of(seed, number, calm=at > len(mine) / 2)
            make(_stub(facade), facade, plan, tallies[caller])

    with ThreadPoolExecutor(_CALLERS) as pool:
        list(pool.map(call, range(_CALLERS)))
    whole = Tally()
    for tally in tallies:
        whole.add(tally)
    return whole


def run(size: int, *, seed: int = SEED) -> list[Measure]:
    """Make ``size`` calls, then a tenth as many at an old and a young facade each."""
    print(f"seed {seed}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        command = [sys.executable, "-m", "tests.fakes.swift_upstream"]
        upstream = stack.enter_context(Server(command, folder / "upstream.log", {}))
        old = stack.enter_context(_facade(folder / "old", upstream))
        callers = stack.enter_context(Callers(seed))
        rounds, rests = _rounds(callers, old, size)
        whole = Tally()
        for tally in rounds:
            whole.add(tally)
        seen = _seen(upstream)
        print(f"what came of them {dict(whole.kinds)}; cancelled late {whole.late_cancels}")
        print(f"upstream {dict(seen)}")
        measures = [*_answers(size, whole, seen), *_holdings(rests)]
        if size >= _SLOPE_SIZE_MIN:
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


def _rounds(callers: Callers, facade: Facade, size: int) -> tuple[list[Tally], list[Rest]]:
    """Make all calls, in rounds with a rest after each; the first one ends with a burst."""
    tallies: list[Tally] = []
    rests: list[Rest] = []
    count = min(_ROUNDS_MAX, size // _ROUND_CALLS_MIN)
    bounds = [size * number // count for number in range(count + 1)]
    began_s = time.monotonic()
    for first, end in itertools.pairwise(bounds):
        tallies.append(callers.make([facade.url], range(first, end)))
        if not rests:
            _burst(facade)
        time.sleep(SLOW_S * 1.5)  # the upstream's answers to calls that were cancelled
        rests.append(Rest.of(facade, end))
        if len(rests) % max(count // 10, 1) == 0:
            print(f"{time.monotonic() - began_s:.0f} s: {rests[-1]}", flush=True)
    return tallies, rests


def _burst(facade: Facade) -> None:
    """Ask for more at once than there are places."""
    with v1.connect(facade.url) as channel:
        stub = v1.ProductSearchStub(channel)
        calls = [slow_call(stub, number) for number in range(4 * limits.RPCS_IN_FLIGHT_MAX)]
        outcomes = Counter(call.code().name for call in calls)
    print(f"burst: {dict(outcomes)}")


def _answers(size: int, whole: Tally, seen: dict[str, int]) -> Iterator[Measure]:
    """Every call came to what it should, and the mix was the one that was asked for."""
    for what, count in whole.strange.most_common(10):
        print(f"strange: {what}: {count}")
    answered = sum(whole.kinds[method] for method in METHODS) + whole.late_cancels
    yield Measure(name="calls that came to what they should", value=answered, relation="==",
                  bar=size)  # fmt: skip
    yield Measure(name="calls that came to anything else", value=whole.strange.total(),
                  relation="==", bar=0)  # fmt: skip
    for kind in ("error", "cancel", "large"):
        least = KINDS[kind] / BLOCK
        share = whole.kinds[kind] / size
        yield Measure(name=f"share of the kind: {kind}", value=share, relation=">=",
                      bar=least * 0.9 if kind == "cancel" else least)  # fmt: skip
    yield Measure(name="kinds of RPC", value=sum(whole.kinds[name] > 0 for name in METHODS),
                  relation="==", bar=len(METHODS))  # fmt: skip
    yield Measure(name="large requests at the upstream", value=seen["large"], relation=">=",
                  bar=whole.kinds["large"])  # fmt: skip


def _holdings(rests: list[Rest]) -> Iterator[Measure]:
    """Memory, threads and descriptors at rest."""
    warm = rests[round(len(rests) * _WARM_UP) :]
    rss_mb = np.array([rest.rss_mb for rest in warm])
    slope, _ = np.polyfit([rest.calls for rest in warm], rss_mb, 1)
    print(f"memory at rest: {rests[0].rss_mb:.1f} MB first, {rss_mb[0]:.1f} warm, "
          f"{rss_mb[-1]:.1f} last, {rss_mb.max():.1f} at most")  # fmt: skip
    if rests[-1].calls >= _SLOPE_SIZE_MIN:
        yield Measure(name=f"memory: slope, MB in {_PER} calls", value=slope * _PER, relation="<=",
                      bar=1)  # fmt: skip
    for name in ("threads", "descriptors"):
        full, *later = (getattr(rest, name) for rest in rests)
        yield Measure(name=f"{name}: most, beyond the {full} of full pools",
                      value=max(later) - full, relation="<=", bar=0)  # fmt: skip


def _ages(
    callers: Callers, old: Facade, young: Facade, size: int, rounds: list[Tally]
) -> Iterator[Measure]:
    """Latency of plain calls: old beside young; first and last tenth for the record."""
    tenth = len(rounds) // 10
    first, last = (
        _p99_ms([s for one in some for s in one.latencies_s.get(old.url, ())])
        for some in (rounds[tenth : 2 * tenth], rounds[-tenth:])
    )
    print(f"p99 of plain calls: second tenth {first:.1f} ms, last {last:.1f} ms")
    callers.make([young.url], range(size, size + size // 50))  # its warm-up
    both = callers.make([old.url, young.url], range(2 * size, 2 * size + size // 5))
    aged, fresh = (_p99_ms(both.latencies_s[facade.url]) for facade in (old, young))
    print(f"p99 side by side: old {aged:.1f} ms, young {fresh:.1f} ms")
    yield Measure(name="p99 of plain calls, old / young", value=aged / fresh, relation="<=",
                  bar=1.1)  # fmt: skip


def _p99_ms(seconds: list[float]) -> float:
    return float(np.percentile(seconds, 99)) * 1000


def main() -> int:
    """Run as a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=FULL)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments: Any = parser.parse_args()
    return report(run(arguments.size, seed=arguments.seed))


if __name__ == "__main__":
    sys.exit(main())
