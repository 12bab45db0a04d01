"""What is counted: Prometheus' own counters and histograms, one registry for each service.

Whoever does the work counts it here; ``observability.metrics`` adds states that are read when
Prometheus asks. Every label comes from a bounded set: methods, codes, reasons, the configured
libraries, and the callers that the policy lists.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

PREFIX: Final = "productsearch_"
DURATION_BUCKETS_S: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip

disable_created_metrics()  # type: ignore[no-untyped-call] # one time series less for each counter


def _counter(
    registry: CollectorRegistry, name: str, says: str, *labels: str
) -> Callable[..., Counter]:
    """Return the ``labels`` of a new counter, cached: by itself it checks and locks each time."""
    return cache(Counter(PREFIX + name, says, labels, registry=registry).labels)


def _durations(
    registry: CollectorRegistry, name: str, says: str, label: str
) -> Callable[..., Histogram]:
    """Return the same of a new histogram of seconds."""
    buckets = DURATION_BUCKETS_S
    return cache(Histogram(PREFIX + name, says, [label], registry=registry, buckets=buckets).labels)


class RpcCounters:
    """RPCs that ended."""

    def __init__(self, registry: CollectorRegistry) -> None:
        says = "RPCs that ended."
        labels = ("method", "reason", "blame", "sent")
        told = "RPCs that failed, or all of whose items did. sent: no if a breaker refused it."
        self._errors = _counter(registry, "errors", told, *labels)
        told = "Items of bulk streams and results of batches."
        self._items = _counter(registry, "items", told, "method", "outcome", "reason")
        self._ended = _counter(registry, "rpcs", says, "method", "code", "reason")
        self._by_caller = _counter(registry, "caller_rpcs", says, "caller", "library", "code")
        self._seconds = _durations(
            registry, "rpc_duration_seconds", "From request to end.", "method"
        )

    def ended(
        self, method: str, code: str, reason: str, caller: str, library: str, *, seconds: float
    ) -> None:
        """Count an RPC that ended with ``code``, and with the reason of its error if any."""
        self._ended(method, code, reason).inc()
        self._by_caller(caller, library, code).inc()
        self._seconds(method).observe(seconds)

    def failed(self, method: str, reason: str, blame: str, *, kept_away: bool) -> None:
        """Count an RPC that failed, or all of whose items did."""
        self._errors(method, reason, blame, "no" if kept_away else "yes").inc()

    def item(self, method: str, outcome: str, reason: str, count: int) -> None:
        """Count items of a stream, or results of a batch, that ended alike."""
        self._items(method, outcome, reason).inc(count)


class LibraryCounters:
    """What one library's upstream was asked, and how that went."""

    def __init__(self, families: Counters, library: str) -> None:
        self._families = families
        self._library = library
        self.name = library
        self._retries = families.retries(library)
        self._waits = families.waits(library)
        self._refusals = families.refusals(library)

    def post(self, method: str, outcome: str, seconds: float) -> None:
        """Count one request to the upstream: what it came to, and how long it took."""
        self._families.posts(self._library, method, outcome).inc()
        self._families.seconds(self._library, method, outcome).inc(seconds)

    def retry(self) -> None:
        """Count an attempt that was not its call's first."""
        self._retries.inc()

    def breaker_refused(self, gate: str) -> None:
        """Count a call that was refused unsent: by the breaker of failures, or of the quota."""
        self._families.kept_away(self._library, gate).inc()

    def token(self, outcome: str) -> None:
        """Count a request for a token by its outcome: ``ok``, or the reason of its error."""
        self._families.tokens(self._library, outcome).inc()

    def paced(self, waited_s: float, *, refused: bool) -> None:
        """Count a wait for a slot of the quota, and whether it ended without one."""
        self._waits.observe(waited_s)
        if refused:
            self._refusals.inc()


class Counters:
    """All counters of one service, in ``registry``; those of the upstreams by library."""

    def __init__(self) -> None:
        def counter(name: str, says: str, *labels: str) -> Callable[..., Counter]:
            return _counter(self.registry, name, says, "library", *labels)

        self.registry = CollectorRegistry()
        self.rpcs = RpcCounters(self.registry)
        self.posts = counter("upstream_calls", "Attempts made.", "method", "outcome")
        self.seconds = counter("upstream_seconds", "Their time.", "method", "outcome")
        self.retries = counter("upstream_retries", "Attempts that were not a call's first.")
        self.kept_away = counter("breaker_refusals", "Calls refused unsent.", "gate")
        self.tokens = counter("token_refreshes", "Requests for a token.", "outcome")
        self.refusals = counter("pacer_refusals", "Calls whose slot came too late.")
        says = "From asking to slot or refusal."
        self.waits = _durations(self.registry, "pacer_wait_seconds", says, "library")

    def library(self, name: str) -> LibraryCounters:
        """Return the counters of one configured library."""
        return LibraryCounters(self, name)
