"""States that Prometheus is told when it asks; what is counted stands in ``counters``."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from productsearch_service.counters import PREFIX
from productsearch_service.library.library import Library
from productsearch_service.observability.readiness import Readiness
from productsearch_service.upstream.stats import UpstreamStats

_TOKEN_STATES: Final = ("fresh", "stale", "expired")


def _paced(stats: UpstreamStats) -> float | None:
    return None if stats.pacer.calls_per_s is None else stats.pacer.waiting


_OF_LIBRARY: Final[tuple[tuple[str, str, Callable[[UpstreamStats], float | None]], ...]] = (
    ("token_age_seconds", "Since the token was received.", lambda s: s.token.age_s),
    ("pacer_waiting", "Calls that wait for a slot of the quota.", _paced),
    ("pacer_rate", "Calls a second that the pacer lets through.", lambda s: s.pacer.calls_per_s),
    ("breaker_open", "The upstream failed; calls are kept away.", lambda s: s.breaker_open),
    ("quota_exhausted", "The daily or total quota is used up.", lambda s: s.quota_exhausted),
    ("library_ready", "The library can be served.", lambda s: not s.not_ready_reason),
)
"""Name, description and value of each library's gauges; None: there is nothing to tell."""


@dataclass(eq=False)
class ServiceStates(Collector):
    """Each library's token, pacer, breaker and quota; this replica's readiness, calls and files.

    ``in_flight`` returns calls and their bytes by kind; ``broken_files`` tells by setting whether
    a changed file cannot be used.
    """

    libraries: Mapping[str, Library]
    readiness: Readiness
    in_flight: Mapping[str, Callable[[], tuple[int, int]]]
    broken_files: Mapping[str, Callable[[], bool]]

    def register(self, registry: CollectorRegistry) -> None:
        """Add these states, and those of the process and of the build, to ``registry``."""
        ProcessCollector(registry=registry)
        labels = ["version", "python", "grpcio"]
        build = Gauge(f"{PREFIX}build_info", "Versions in use.", labels, registry=registry)
        versions = (version("productsearch-service"), platform.python_version(), version("grpcio"))
        build.labels(*versions).set(1)
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        stats = {name: library.stats() for name, library in self.libraries.items()}
        states = _gauge("token_state", "1 for the state that the token is in.", "library", "state")
        for name, its in stats.items():
            for state in _TOKEN_STATES:
                states.add_metric([name, state], float(state == its.token.state))
        yield states
        for metric, says, value_of in _OF_LIBRARY:
            family = _gauge(metric, says, "library")
            for name, its in stats.items():
                if (value := value_of(its)) is not None:
                    family.add_metric([name], float(value))
            yield family

        ready = float(self.readiness.ready)
        yield GaugeMetricFamily(f"{PREFIX}ready", "This replica should get calls.", ready)
        says, looks = "How often readiness was looked at.", self.readiness.looks
        yield CounterMetricFamily(f"{PREFIX}readiness_looks", says, looks)
        calls = _gauge("rpcs_in_flight", "RPCs under way.", "kind")
        held = _gauge("rpc_bytes_in_flight", "Bytes of their requests.", "kind")
        for kind, counts in self.in_flight.items():
            rpcs, request_bytes = counts()
            calls.add_metric([kind], rpcs)
            held.add_metric([kind], request_bytes)
        broken = _gauge("files_broken", "Changed files are broken; the old value is used.", "what")
        for what, is_broken in self.broken_files.items():
            broken.add_metric([what], float(is_broken()))
        yield from (calls, held, broken)


def _gauge(name: str, says: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, says, labels=labels)
