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

from productsearch_service import limits
from productsearch_service.audit import Audit
from productsearch_service.counters import PREFIX
from productsearch_service.library.library import Library
from productsearch_service.observability.readiness import Readiness
from productsearch_service.upstream.stats import UpstreamStats

_TOKEN_STATES: Final = ("fresh", "stale", "expired")


def _paced(stats: UpstreamStats) -> float | None:
    return None if stats.pacer.calls_per_s is None else stats.pacer.waiting


_OF_LIBRARY: Final[tuple[tuple[str, str, Callable[[UpstreamStats], float | None]], ...]] = (
    ("token_age_seconds", "Since the token was received.", lambda s: s.token.age_s),
    ("token_left_seconds", "Until the token expires.", lambda s: s.token.left_s),
    ("quota_limit", "This replica's part of the quota, per second.", lambda s: s.pacer.limit_per_s),
    ("pacer_rate", "Calls a second that the pacer lets through.", lambda s: s.pacer.calls_per_s),
    ("pacer_waiting", "Calls that wait for a slot of the quota.", _paced),
    ("retry_budget", "Retries that may be made now.", lambda s: s.retries_left),
    ("breaker_open", "The upstream failed; calls are kept away.", lambda s: s.breaker_open),
    ("quota_exhausted", "The daily or total quota is used up.", lambda s: s.quota_exhausted),
    ("library_ready", "The library can be served.", lambda s: not s.not_ready_reason),
)
"""Name, description and value of each library's gauges; None: there is nothing to tell."""

_BOUNDS: Final[dict[str, tuple[int, int]]] = {
    "waiting": (limits.WAITING_MAX, 0),
    "receiving": (limits.RECEIVING_MAX, limits.RECEIVING_MAX * limits.RECEIVE_BYTES_MAX),
    "unary": (limits.RPCS_IN_FLIGHT_MAX, limits.BYTES_IN_FLIGHT_MAX),
    "unread": (limits.UNREAD_MAX, limits.UNREAD_BYTES_MAX),
    "fit": (limits.FIT_CALLS_MAX, limits.BYTES_IN_FLIGHT_MAX),
    "large": (limits.LARGE_CALLS_MAX, limits.LARGE_BYTES_MAX),
    "stream": (limits.BULK_STREAMS_MAX, 0),
    "bulk_item": (limits.BULK_ITEMS_MAX, limits.BULK_BYTES_MAX),
    "bystander": (limits.BYSTANDERS_MAX, 0),
}
"""Calls and bytes of each kind, at most; 0: bounded by another one."""


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
    certificate_days: Callable[[], Mapping[str, float]] = dict
    certificate_begins: Callable[[], Mapping[str, float]] = dict
    key_pair_days: Callable[[], Mapping[str, tuple[float | None, float | None]]] = dict
    """Of each library the age of its key pair and the days it has left; None: not known."""
    alike: Callable[[], tuple[str, str, str]] = lambda: ("", "", "")
    """Digests of the settings and of the policy in use, and the log level."""
    audit: Audit | None = None
    spans: Mapping[str, int] | None = None
    """Spans by what became of them; None: traces are off."""

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
        yield from _of_libraries(stats)
        yield from self._caches()
        yield from self._replica(stats)
        yield from self._calls()

    def _caches(self) -> Iterator[Metric]:
        says = "Searches by how they were answered."
        asked = CounterMetricFamily(f"{PREFIX}search_cache", says, labels=["library", "outcome"])
        held = _gauge("search_cache_bytes", "Memory of cached pages.", "library")
        for name, library in self.libraries.items():
            for outcome, count in library.search_cache.outcomes.items():
                asked.add_metric([name, outcome], count)
            held.add_metric([name], library.search_cache.bytes_held)
        yield from (asked, held)

    def _replica(self, stats: Mapping[str, UpstreamStats]) -> Iterator[Metric]:
        ready = float(self.readiness.ready)
        yield GaugeMetricFamily(f"{PREFIX}ready", "This replica should get calls.", ready)
        says, looks = "How often readiness was looked at.", self.readiness.looks
        yield CounterMetricFamily(f"{PREFIX}readiness_looks", says, looks)
        says = "What replicas should have in common: digests, and the log level."
        alike = _gauge("settings_info", says, "settings", "policy", "log_level")
        alike.add_metric([*self.alike()], 1)
        yield alike
        broken = _gauge("files_broken", "Changed files are broken; the old value is used.", "what")
        for what, is_broken in self.broken_files.items():
            broken.add_metric([what], float(is_broken()))
        for name, its in stats.items():
            what = f"libraries.{name}.credentials_dir"
            broken.add_metric([what], float(its.token.new_pair_refused))
        days = _gauge("certificate_days_left", "Until a certificate in use ends.", "what")
        for what, left in self.certificate_days().items():
            days.add_metric([what], left)
        says = "Until a certificate in use is valid; below 0 it is."
        begins = _gauge("certificate_begins_in_days", says, "what")
        for what, left in self.certificate_begins().items():
            begins.add_metric([what], left)
        age = _gauge("key_pair_age_days", "Since the key pair's files were written.", "library")
        ends = _gauge("key_pair_days_left", "Until the day set in key_pair_ends.", "library")
        for library, known in self.key_pair_days().items():
            for family, value in zip((age, ends), known, strict=True):
                if value is not None:
                    family.add_metric([library], value)
        audited = CounterMetricFamily(
            f"{PREFIX}audit_lines", "Lines of the audit stream, or lost.", labels=["outcome"]
        )
        if self.audit is not None:
            audited.add_metric(["written"], self.audit.written)
            audited.add_metric(["lost"], self.audit.lost)
        traced = CounterMetricFamily(
            f"{PREFIX}spans",
            "Spans sent to the collector, lost there, or dropped.",
            labels=["outcome"],
        )
        for outcome, count in (self.spans or {}).items():
            traced.add_metric([outcome], count)
        yield traced
        yield from (broken, days, begins, age, ends, audited)

    def _calls(self) -> Iterator[Metric]:
        calls = _gauge("rpcs_in_flight", "RPCs under way.", "kind")
        held = _gauge("rpc_bytes_in_flight", "Bytes of their requests.", "kind")
        calls_max = _gauge("rpcs_limit", "RPCs that may be under way.", "kind")
        held_max = _gauge("rpc_bytes_limit", "Bytes that their requests may have.", "kind")
        for kind, counts in self.in_flight.items():
            for now, most, value, bound in zip(
                (calls, held), (calls_max, held_max), counts(), _BOUNDS[kind], strict=True
            ):
                now.add_metric([kind], value)
                if bound:
                    most.add_metric([kind], bound)
        yield from (calls, held, calls_max, held_max)


def _of_libraries(stats: Mapping[str, UpstreamStats]) -> Iterator[Metric]:
    states = _gauge("token_state", "1 for the state that the token is in.", "library", "state")
    says = "How long a call like the caller's last could still wait; below 0 it would be refused."
    headroom = _gauge("caller_headroom_seconds", says, "library", "caller")
    for name, its in stats.items():
        for state in _TOKEN_STATES:
            states.add_metric([name, state], float(state == its.token.state))
        for caller, seconds in its.pacer.headroom_s().items():
            headroom.add_metric([name, caller], seconds)
    yield from (states, headroom)
    for metric, says, value_of in _OF_LIBRARY:
        family = _gauge(metric, says, "library")
        for name, its in stats.items():
            if (value := value_of(its)) is not None:
                family.add_metric([name], float(value))
        yield family


def _gauge(name: str, says: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, says, labels=labels)
