"""What Prometheus is told: gathered when it asks, from counts that are kept anyway.

Every label comes from a bounded set: methods, codes, reasons, the configured libraries, the
callers that the policy lists. What callers make up is counted under one name.
"""

from __future__ import annotations

import platform
import threading
import time
from importlib.metadata import version
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from productsearch_service.operations.rpcs import BUCKETS_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from productsearch_service.admission import Admission
    from productsearch_service.libraries import Library
    from productsearch_service.operations.readiness import Readiness
    from productsearch_service.operations.rpcs import RpcCounts
    from productsearch_service.operations.vitals import Vitals
    from productsearch_service.reloading import Reloaded

_PREFIX: Final = "productsearch_"
_SAMPLE_S: Final = 2.0


def registry(*collectors: Collector) -> CollectorRegistry:
    """Return a registry of these, of the process and of the build."""
    made = CollectorRegistry()
    for collector in (_Build(), _Process(), *collectors):
        made.register(collector)
    return made


class RpcCollector(Collector):
    """RPCs that ended, and those under way."""

    def __init__(self, counts: RpcCounts, under_way: Mapping[str, Admission]) -> None:
        self._counts = counts
        self._under_way = under_way

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        ended = _counter("rpcs", "RPCs that ended.", "method", "code", "reason")
        for labels, count in self._counts.ended().items():
            ended.add_metric(labels, count)
        yield ended
        by_caller = _counter("caller_rpcs", "RPCs that ended.", "caller", "library", "code")
        for labels, count in self._counts.by_caller().items():
            by_caller.add_metric(labels, count)
        yield by_caller
        durations = HistogramMetricFamily(
            f"{_PREFIX}rpc_duration_seconds", "From request to end.", labels=["method"]
        )
        for method, histogram in self._counts.durations().items():
            bounds = [*map(str, BUCKETS_S), "+Inf"]
            buckets = [*zip(bounds, map(float, accumulate(histogram.buckets)), strict=True)]
            durations.add_metric([method], buckets, histogram.sum_s)
        yield durations
        calls = _gauge("rpcs_in_flight", "RPCs under way.", "kind")
        held = _gauge("rpc_bytes_in_flight", "Bytes of their requests.", "kind")
        for kind, admission in self._under_way.items():
            rpcs, request_bytes = admission.in_flight
            calls.add_metric([kind], rpcs)
            held.add_metric([kind], request_bytes)
        yield calls
        yield held


class LibraryCollector(Collector):
    """Each library's upstream, token, pacer, breaker and quota."""

    def __init__(self, libraries: Mapping[str, Library]) -> None:
        self._libraries = libraries

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        vitals = {name: library.vitals() for name, library in self._libraries.items()}
        yield from _upstream(vitals)
        yield from _tokens(vitals)
        yield from _pacers(vitals)
        yield _flags("breaker_open", "The upstream failed; calls are kept away.", vitals,
                     lambda library: library.breaker_open)  # fmt: skip
        yield _flags("quota_exhausted", "The daily or total quota is used up.", vitals,
                     lambda library: library.quota_exhausted)  # fmt: skip
        yield _flags("library_ready", "The library can be served.", vitals,
                     lambda library: not library.obstacle)  # fmt: skip


class StateCollector(Collector):
    """Whether this replica is ready, and whether its reloaded files are good."""

    def __init__(self, readiness: Readiness, reloaded: Iterable[Reloaded[object, object]]) -> None:
        self._readiness = readiness
        self._reloaded = tuple(reloaded)

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        yield GaugeMetricFamily(
            f"{_PREFIX}ready", "This replica should get calls.", float(self._readiness.ready)
        )
        looks = _counter("readiness_looks", "How often readiness was looked at.")
        looks.add_metric([], self._readiness.looks)
        yield looks
        stale = _gauge("files_broken", "Changed files are broken; the old value is used.", "what")
        for reloaded in self._reloaded:
            stale.add_metric([reloaded.what], float(reloaded.broken))
        yield stale


class _Process(Collector):
    """Memory, CPU and descriptors, at most two seconds old.

    Reading them takes a dozen system calls, each of which gives the interpreter away; under load
    a scrape would wait for it a dozen times.
    """

    def __init__(self) -> None:
        self._process = ProcessCollector(registry=None)
        self._families = [*self._process.collect()]
        threading.Thread(target=self._sample, name="process", daemon=True).start()

    def collect(self) -> Iterable[Metric]:
        return self._families

    def _sample(self) -> None:
        while True:
            time.sleep(_SAMPLE_S)
            self._families = [*self._process.collect()]


class _Build(Collector):
    def __init__(self) -> None:
        self._info = _gauge("build_info", "Versions in use.", "version", "python", "grpcio")
        versions = (version("productsearch-service"), platform.python_version(), version("grpcio"))
        self._info.add_metric(versions, 1)

    def collect(self) -> Iterator[Metric]:
        yield self._info


def _upstream(vitals: Mapping[str, Vitals]) -> Iterator[Metric]:
    calls = _counter("upstream_calls", "Attempts made.", "library", "method", "outcome")
    seconds = _counter("upstream_seconds", "Time they took.", "library", "method", "outcome")
    retries = _counter("upstream_retries", "Attempts that were not a call's first.", "library")
    for name, library in vitals.items():
        for (method, outcome), count in library.calls.items():
            calls.add_metric([name, method, outcome], count)
        for (method, outcome), taken in library.call_s.items():
            seconds.add_metric([name, method, outcome], taken)
        retries.add_metric([name], library.retries)
    yield from (calls, seconds, retries)


def _tokens(vitals: Mapping[str, Vitals]) -> Iterator[Metric]:
    states = _gauge("token_state", "1 for the state that the token is in.", "library", "state")
    ages = _gauge("token_age_seconds", "Since the token was received.", "library")
    refreshes = _counter("token_refreshes", "Requests for a token.", "library", "outcome")
    for name, library in vitals.items():
        for state in ("fresh", "stale", "expired"):
            states.add_metric([name, state], float(state == library.token.state))
        if library.token.age_s is not None:
            ages.add_metric([name], library.token.age_s)
        for outcome, count in library.token.refreshes.items():
            refreshes.add_metric([name, outcome], count)
    yield from (states, ages, refreshes)


def _pacers(vitals: Mapping[str, Vitals]) -> Iterator[Metric]:
    waiting = _gauge("pacer_waiting", "Calls that wait for their slot.", "library")
    rates = _gauge("pacer_rate", "Calls per second that get a slot.", "library")
    waits = SummaryMetricFamily(
        f"{_PREFIX}pacer_wait_seconds", "From asking to slot or refusal.", labels=["library"]
    )
    refusals = _counter("pacer_refusals", "Calls whose slot came too late.", "library")
    for name, library in vitals.items():
        pacer = library.pacer
        if pacer.per_s is None:
            continue
        waiting.add_metric([name], pacer.waiting)
        rates.add_metric([name], pacer.per_s)
        waits.add_metric([name], sum(pacer.outcomes.values()), pacer.waited_s)
        refusals.add_metric([name], pacer.outcomes.get("refused", 0))
    yield from (waiting, rates, waits, refusals)


def _flags(
    name: str, says: str, vitals: Mapping[str, Vitals], flag: Callable[[Vitals], bool]
) -> Metric:
    family = _gauge(name, says, "library")
    for library, its in vitals.items():
        family.add_metric([library], float(flag(its)))
    return family


def _counter(name: str, says: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(_PREFIX + name, says, labels=labels)


def _gauge(name: str, says: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, says, labels=labels)
