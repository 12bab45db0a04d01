"""What is counted: Prometheus' own counters and histograms, one registry for each service.

Whoever does the work counts it here; ``observability.metrics`` adds states that are read when
Prometheus asks. Every label comes from a bounded set: methods, codes, reasons, the configured
libraries, and the callers that the policy lists.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

from productsearch_service import limits
from productsearch_service.batching import Batches
from productsearch_service.errors import RateLimited
from productsearch_service.tallies import DurationTally, Labels, Tally

PREFIX: Final = "productsearch_"
OTHER: Final = "other"
"""What metrics call all callers that they have no name for."""
DURATION_BUCKETS_S: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip

CALL_DURATION: Final = "rpc_server_call_duration_seconds"
"""OpenTelemetry's ``rpc.server.call.duration``, as Prometheus writes it."""
_CALL_BUCKETS_S: Final = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0,
)  # fmt: skip
"""OpenTelemetry's, and the longest call to the upstream."""
_RPC_SERVICE: Final = "productsearch.v1.ProductSearch/"

disable_created_metrics()  # type: ignore[no-untyped-call] # one time series less for each counter


def _counter(
    registry: CollectorRegistry, name: str, says: str, *labels: str
) -> Callable[..., Counter]:
    """Return the ``labels`` of a new counter, cached: by itself it checks and locks each time."""
    return cache(Counter(PREFIX + name, says, labels, registry=registry).labels)


def _tally(
    registry: CollectorRegistry, name: str, says: str, *labels: str
) -> defaultdict[Labels, float]:
    """Return what a new tally counts, by the values of its labels."""
    return Tally(registry, PREFIX + name, says, labels).of


def _durations(
    registry: CollectorRegistry, name: str, says: str, label: str
) -> Callable[..., Histogram]:
    """Return the same of a new histogram of seconds."""
    buckets = DURATION_BUCKETS_S
    return cache(Histogram(PREFIX + name, says, [label], registry=registry, buckets=buckets).labels)


class RpcCounters:
    """RPCs that ended. ``old_names``: also by the names of the release before.

    One thread at a time counts: they are told of in a batch of ``batches``.
    """

    def __init__(
        self, registry: CollectorRegistry, batches: Batches, *, old_names: bool = False
    ) -> None:
        self.batches = batches
        self._calls = DurationTally(
            registry,
            CALL_DURATION,
            "From request to end.",
            ("rpc_method", "rpc_status_code"),
            _CALL_BUCKETS_S,
        )
        labels = ("method", "library", "reason", "blame", "breaker")
        told = "RPCs that failed, or all of whose items did. breaker: open if one refused it."
        self._errors = _tally(registry, "errors", told, *labels)
        told = "Items of bulk streams and results of batches."
        item_labels = ("method", "caller", "library", "outcome", "reason")
        self._items = _tally(registry, "items", told, *item_labels)
        says = "RPCs that ended."
        self._by_caller = _tally(registry, "caller_rpcs", says, "caller", "library", "code")
        told = "Waits of RPCs that ended: for a place, a token, another attempt; and fit."
        self._waits = _tally(registry, "call_waits_seconds", told, "wait")
        self._callers = Callers()
        self._durations = cache(
            lambda method, code: self._calls.of(_RPC_SERVICE + method, code).add
        )
        self._old = OldRpcCounters(registry) if old_names else None

    def ended(
        self,
        method: str,
        code: str,
        reason: str,
        caller: str,
        library: str,
        seconds: float,
        trace_id: str = "",
    ) -> None:
        """Count an RPC that ended with ``code``; ``reason`` of its error, or "-".

        ``trace_id``: of its spans, if there are any; the exemplar of its bucket.
        """
        self._durations(method, code)(seconds, trace_id)
        self._by_caller[self._callers.label(caller), library, code] += 1
        if self._old is not None:
            self._old.ended(method, code, "" if reason == "-" else reason, seconds)

    def waited(self, wait: str, seconds: float) -> None:
        """Count what an RPC spent in a wait that most do not have."""
        self._waits[(wait,)] += seconds

    def failed(
        self, method: str, library: str, reason: str, blame: str, *, kept_away: bool
    ) -> None:
        """Count an RPC that failed, or all of whose items did."""
        self._errors[method, library, reason, blame, "open" if kept_away else "-"] += 1

    def items(
        self, method: str, caller: str, library: str, outcome: str, reason: str, *, count: int
    ) -> None:
        """Count items of a stream, or results of a batch, that ended alike."""
        self._items[method, self._callers.label(caller), library, outcome, reason] += count


class OldRpcCounters:
    """The names of the release before, for dashboards that still ask for them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("method", "code", "reason")
        self._ended = _counter(registry, "rpcs", "Old: use rpc_server_call_...", *labels)
        says = "Old: use rpc_server_call_duration_seconds."
        self._seconds = _durations(registry, "rpc_duration_seconds", says, "method")

    def ended(self, method: str, code: str, reason: str, seconds: float) -> None:
        """Count an RPC."""
        self._ended(method, code, reason).inc()
        self._seconds(method).observe(seconds)


class Callers:
    """The names of callers that metrics may have: the first so many, then ``other``."""

    def __init__(self, names_max: int = limits.CALLER_LABELS_MAX) -> None:
        self._names: set[str] = set()
        self._names_max = names_max

    def label(self, name: str) -> str:
        """Return the name, or ``other`` if there are too many."""
        if name in self._names:
            return name
        if len(self._names) >= self._names_max:
            return OTHER
        self._names.add(name)
        return name


class LibraryCounters:
    """What one library's upstream was asked, and how that went; for the event loop's thread."""

    def __init__(self, families: Counters, library: str) -> None:
        self._library = library
        self.name = library
        self._posts, self._seconds = families.posts, families.seconds
        self._slots, self._callers = families.slots, families.callers
        self._kept_away, self._tokens = families.kept_away, families.tokens
        self._retries = families.retries(library)
        self._refusals = families.refusals(library)
        self._waits = families.waits.of(library)

    def post(self, method: str, outcome: str, seconds: float, caller: str = "") -> None:
        """Count one request to the upstream: what it came to, and how long it took.

        ``caller``: where no quota is set here, the upstream itself gives slots and refuses them.
        """
        labels = (self._library, method, outcome)
        self._posts[labels] += 1
        self._seconds[labels] += seconds
        if caller:
            self._slot(caller, refused=outcome == RateLimited.reason)

    def _slot(self, caller: str, *, refused: bool) -> None:
        label = self._callers.label(caller)
        self._slots[self._library, label, "refused" if refused else "given"] += 1

    def retry(self) -> None:
        """Count an attempt that was not its call's first."""
        self._retries.inc()

    def breaker_refused(self, gate: str) -> None:
        """Count a call that was refused unsent: by the breaker of failures, or of the quota."""
        self._kept_away(self._library, gate).inc()

    def token(self, outcome: str) -> None:
        """Count a request for a token by its outcome: ``ok``, or the reason of its error."""
        self._tokens(self._library, outcome).inc()

    def paced(self, waited_s: float, caller: str, *, refused: bool) -> None:
        """Count a wait for a slot of the quota, and whether it ended without one."""
        self._waits.add(waited_s)
        self._slot(caller, refused=refused)
        if refused:
            self._refusals.inc()


class Counters:
    """All counters of one service, in ``registry``; those of the upstreams by library."""

    def __init__(self, *, old_names: bool = False) -> None:
        def counter(name: str, says: str, *labels: str) -> Callable[..., Counter]:
            return _counter(self.registry, name, says, "library", *labels)

        def tally(name: str, says: str, *labels: str) -> defaultdict[Labels, float]:
            return _tally(self.registry, name, says, "library", *labels)

        self.registry = CollectorRegistry()
        self.batches = Batches()
        self.registry.register(self.batches)
        self.rpcs = RpcCounters(self.registry, self.batches, old_names=old_names)
        self.callers = Callers()
        self.posts = tally("upstream_calls", "Attempts made.", "method", "outcome")
        self.seconds = tally("upstream_seconds", "Their time.", "method", "outcome")
        self.retries = counter("upstream_retries", "Attempts that were not a call's first.")
        self.kept_away = counter("breaker_refusals", "Calls refused unsent.", "gate")
        self.tokens = counter("token_refreshes", "Requests for a token.", "outcome")
        self.refusals = counter("pacer_refusals", "Calls whose slot came too late.")
        told = "Slots of the quota by who asked: given, or refused as too late, or by the upstream."
        self.slots = tally("caller_slots", told, "caller", "outcome")
        self.waits = DurationTally(
            self.registry,
            f"{PREFIX}pacer_wait_seconds",
            "From asking to slot or refusal.",
            ("library",),
            DURATION_BUCKETS_S,
        )

    def library(self, name: str) -> LibraryCounters:
        """Return the counters of one configured library."""
        return LibraryCounters(self, name)
