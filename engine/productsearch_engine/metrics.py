"""What is counted and timed, in one Prometheus registry for each process.

It imports nothing of the engine because all rooms above may write it. Knows the names of methods
and stages and the numbers of codes. Does not know HTTP. Safe for threads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

PREFIX = "productsearch_engine_"
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

disable_created_metrics()  # type: ignore[no-untyped-call] # one time series less for each counter


class Metrics:
    """The registry and what is written to it; ``registry`` takes further collectors."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        build = Gauge(f"{PREFIX}build_info", "Version in use.", ["version"], registry=self.registry)
        build.labels(version("productsearch-engine")).set(1)
        says = "Answers by method and error code."
        requests = Counter(f"{PREFIX}requests", says, ["method", "code"], registry=self.registry)
        self._requests: Callable[..., Counter] = cache(requests.labels)
        self._seconds = self._durations("request_seconds", "From head to answer.", "method")
        says = "Parts of calls: wait for a process, decode, embed, wait for a connection, sql."
        self._stages = self._durations("stage_seconds", says, "stage")
        says = "Of searches repeated exactly: ranks by the index that belong there."
        self._recall_found = self._ranks("recall_found", says)
        self._recall_wanted = self._ranks("recall_wanted", "Of these searches: all ranks.")

        says = "Spans sent to the collector, or lost."
        spans = Counter(f"{PREFIX}spans", says, ["outcome"], registry=self.registry)
        self._spans: Callable[[str], Counter] = cache(spans.labels)

    def _ranks(self, name: str, says: str) -> Callable[[str], Counter]:
        return cache(Counter(PREFIX + name, says, ["library"], registry=self.registry).labels)

    def _durations(self, name: str, says: str, label: str) -> Callable[[str], Histogram]:
        made = Histogram(PREFIX + name, says, [label], registry=self.registry, buckets=_BUCKETS_S)
        return cache(made.labels)

    def count(self, method: str, code: int, seconds: float, trace_id: str = "") -> None:
        """Count one answer. ``code`` 0 is success; 400, 401 and 500 are the token endpoint's.

        ``trace_id``: of its span, if there is one; the exemplar of its bucket.
        """
        self._requests(method, code).inc()
        self._seconds(method).observe(seconds, {"trace_id": trace_id} if trace_id else None)

    def count_left(self, method: str, code: int) -> None:
        """Count a call whose caller left; how long it had waited says nothing of the engine."""
        self._requests(method, code).inc()

    def stage(self, name: str, seconds: float) -> None:
        """Count one part of a call."""
        self._stages(name).observe(seconds)

    def spans(self, outcome: str, count: int) -> None:
        """Count spans that were sent to the collector, or lost."""
        self._spans(outcome).inc(count)

    def recall(self, library: str, found: int, wanted: int) -> None:
        """Count the ranks of a search that was repeated exactly, and those that belong there."""
        self._recall_found(library).inc(found)
        self._recall_wanted(library).inc(wanted)

    def encoded(self, accept: str = "") -> tuple[bytes, str]:
        """Return everything in the format that a scraper accepts, and its content type."""
        encode, kind = choose_encoder(accept)
        return encode(self.registry), kind

    def text(self) -> str:
        """Return everything in Prometheus' text format."""
        return self.encoded()[0].decode()
