"""Processes of many callers each, who share out a range of calls.

Knows nothing of what the calls tell.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Final

from productsearch import v1
from tests.soak.mixed_calls import Mix, Plan, Tally, make

_PROCESSES: Final = 2
_CALLERS: Final = 20
"""Threads of each process."""


class Callers:
    """Processes of callers; a context manager."""

    def __init__(self, mix: Mix) -> None:
        self._mix = mix
        self._pool = ProcessPoolExecutor(_PROCESSES, mp_context=get_context("spawn"))

    def __enter__(self) -> Callers:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def make(self, facades: Sequence[str], numbers: range) -> Tally:
        """Make the calls of these numbers, at each facade in turn."""
        parts = [numbers[part::_PROCESSES] for part in range(_PROCESSES)]
        tally = Tally()
        for made in self._pool.map(functools.partial(_make_all, facades, self._mix), parts):
            tally.add(made)
        return tally


@functools.cache
def _stub(facade: str) -> v1.ProductSearchStub:
    """Return this process's one channel to a facade; it ends with the process."""
    return v1.ProductSearchStub(v1.connect(facade))


def _make_all(facades: Sequence[str], mix: Mix, numbers: range) -> Tally:
    """Make calls from many threads; each thread has a tally of its own."""
    tallies = [Tally() for _ in range(_CALLERS)]

    def call(caller: int) -> None:
        mine = numbers[caller::_CALLERS]
        for at, number in enumerate(mine):
            facade = facades[(caller + at) % len(facades)]
            # When only faults that are tried again are left, the breaker opens, as it should.
            plan = Plan.of(mix, number, calm=at > len(mine) / 2)
            make(_stub(facade), facade, plan, tallies[caller])

    with ThreadPoolExecutor(_CALLERS) as pool:
        list(pool.map(call, range(_CALLERS)))
    whole = Tally()
    for tally in tallies:
        whole.add(tally)
    return whole
