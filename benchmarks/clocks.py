"""Measures things against each other: in turns, so that what slows the machine slows both."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, and the middle half of them, in the rounds' own unit."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least two values."""
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def __str__(self) -> str:
        return f"{self.median:.4g} ({self.low:.4g} to {self.high:.4g})"


def in_turns(candidates: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Run A B C A B C ...; return each candidate's values. A first round is not counted."""
    values: dict[str, list[T]] = {name: [] for name in candidates}
    gc.collect()
    gc.freeze()  # what was there before need not be looked through before each turn
    for number in range(rounds + 1):
        for name, measure in candidates.items():
            value = measure()
            if number:
                values[name].append(value)
    gc.unfreeze()
    return values


def cpu_s(work: Callable[[], object], times: int) -> float:
    """Return this process's CPU seconds for one ``work``, over that many in a row."""
    return _timed(work, times, time.process_time)


def wall_s(work: Callable[[], object], times: int) -> float:
    """Return the seconds that one ``work`` takes, over that many in a row."""
    return _timed(work, times, time.perf_counter)


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the ratio of each round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def _timed(work: Callable[[], object], times: int, clock: Callable[[], float]) -> float:
    gc.collect()
    began = clock()
    for _ in range(times):
        work()
    return (clock() - began) / times
