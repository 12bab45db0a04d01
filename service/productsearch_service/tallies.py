"""Counters and histograms for what each call counts: adding is a dictionary's work and no more.

Prometheus' own take a lock and several function calls for each number. Whoever adds here sees to
it that two threads never do so at the same time; any thread may read.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

Labels = tuple[str, ...]


class Tally(Collector):
    """A counter: what was counted by the values of its labels."""

    def __init__(
        self, registry: CollectorRegistry, name: str, says: str, labels: Sequence[str]
    ) -> None:
        self._told: Final = (name, says)
        self._labels: Final = labels
        self.of: Final[defaultdict[Labels, float]] = defaultdict(float)
        """Add to one of these."""
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(*self._told, labels=self._labels)
        for labels, value in (*self.of.items(),):
            family.add_metric(labels, value)
        yield family


class Durations:
    """One series of a histogram of seconds."""

    __slots__ = ("_bounds", "buckets", "exemplars", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.exemplars: dict[int, Exemplar] = {}
        self.sum = 0.0

    def add(self, seconds: float, trace_id: str = "") -> None:
        """Count a duration; ``trace_id`` is the exemplar of its bucket."""
        bucket = bisect_left(self._bounds, seconds)
        self.buckets[bucket] += 1
        self.sum += seconds
        if trace_id:
            self.exemplars[bucket] = Exemplar({"trace_id": trace_id}, seconds, time.time())


class DurationTally(Collector):
    """A histogram of seconds: durations by the values of its labels."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        says: str,
        labels: Sequence[str],
        bounds_s: Sequence[float],
    ) -> None:
        self._told: Final = (name, says)
        self._labels: Final = labels
        self._bounds: Final = bounds_s
        self._names: Final = [*map(str, bounds_s), "+Inf"]
        self._of: Final[dict[Labels, Durations]] = {}
        registry.register(self)

    def of(self, *labels: str) -> Durations:
        """Return the durations with these labels; keep what was returned."""
        return self._of.setdefault(labels, Durations(self._bounds))

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(*self._told, labels=self._labels)
        for labels, its in (*self._of.items(),):
            count, buckets = 0, []
            for number, name in enumerate(self._names):
                count += its.buckets[number]
                exemplar = its.exemplars.get(number)
                buckets.append((name, count, exemplar) if exemplar else (name, count))
            family.add_metric(labels, buckets, its.sum)
        yield family
