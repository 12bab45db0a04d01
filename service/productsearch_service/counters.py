"""What is counted: Prometheus' own counters and histograms, one registry for each service.

Whoever does the work counts it here; ``observability.metrics`` adds states that are read when
Prometheus asks. Every label comes from a bounded set: methods, codes, reasons, the configured
libraries, and the callers that the policy lists.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from productsearch_service import limits
from productsearch_service.errors import RateLimited

Item = TypeVar("Item")

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

_log = logging.getLogger(__name__)

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


class Batch(Collector):
    """What is to be counted and logged, of many calls together and a moment later.

    Done for each call by itself it takes eight times as long: its code and data have left the
    processor's caches since the last one. Registered as the first collector, it leaves nothing
    uncounted when Prometheus asks. Thread-safe.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[[list[Any]], object], object]] = deque()

    def add(self, work: Callable[[list[Item]], object], item: Item) -> None:
        """Do ``work`` with this item and others soon; at once where no event loop runs."""
        self._waiting.append((work, item))
        count = len(self._waiting)
        if count == 1:
            try:
                asyncio.get_running_loop().call_later(limits.TOLD_WITHIN_S, self.carry_out)
            except RuntimeError:
                self.carry_out()
        elif count >= limits.TOLD_TOGETHER_MAX:
            self.carry_out()

    def carry_out(self) -> None:
        """Do all that waits."""
        items_of: defaultdict[Callable[[list[Any]], object], list[object]] = defaultdict(list)
        while True:
            try:
                work, item = self._waiting.popleft()
            except IndexError:
                break
            items_of[work].append(item)
        for work, items in items_of.items():
            try:
                work(items)
            except Exception:  # noqa: BLE001 - logged; the rest is done all the same
                _log.exception("counting or logging calls failed in an unforeseen way")

    def collect(self) -> Iterable[Metric]:
        """Return no metrics, and have those of the counters complete."""
        self.carry_out()
        return ()


class RpcCounters:
    """RPCs that ended. ``old_names``: also by the names of the release before."""

    def __init__(
        self, registry: CollectorRegistry, batch: Batch, *, old_names: bool = False
    ) -> None:
        self.batch = batch
        calls = Histogram(
            CALL_DURATION,
            "From request to end.",
            ["rpc_method", "rpc_status_code"],
            registry=registry,
            buckets=_CALL_BUCKETS_S,
        )
        labels = ("method", "library", "reason", "blame", "sent")
        told = "RPCs that failed, or all of whose items did. sent: no if a breaker refused it."
        self._errors = _counter(registry, "errors", told, *labels)
        told = "Items of bulk streams and results of batches."
        item_labels = ("method", "caller", "library", "outcome", "reason")
        self._items = _counter(registry, "items", told, *item_labels)
        says = "RPCs that ended."
        by_caller = _counter(registry, "caller_rpcs", says, "caller", "library", "code")
        told = "Waits of RPCs that ended: for a place, a token, another attempt; and fit."
        self._waits = _counter(registry, "call_waits_seconds", told, "wait")
        self._callers = Callers()
        self._of_call = cache(
            lambda method, code, caller, library: (
                calls.labels(_RPC_SERVICE + method, code).observe,
                by_caller(caller, library, code).inc,
            )
        )
        self._old = OldRpcCounters(registry) if old_names else None

    def ended(
        self,
        method: str,
        code: str,
        reason: str,
        caller: str,
        library: str,
        *,
        seconds: float,
        trace_id: str = "",
    ) -> None:
        """Count an RPC that ended with ``code``; ``reason`` of its error, or "-".

        ``trace_id``: of its spans, if there are any; the exemplar of its bucket.
        """
        observe, count = self._of_call(method, code, self._callers.label(caller), library)
        observe(seconds, {"trace_id": trace_id} if trace_id else None)
        count()
        if self._old is not None:
            self._old.ended(method, code, "" if reason == "-" else reason, seconds)

    def waited(self, wait: str, seconds: float) -> None:
        """Count what an RPC spent in a wait that most do not have."""
        self._waits(wait).inc(seconds)

    def failed(
        self, method: str, library: str, reason: str, blame: str, *, kept_away: bool
    ) -> None:
        """Count an RPC that failed, or all of whose items did."""
        self._errors(method, library, reason, blame, "no" if kept_away else "yes").inc()

    def items(
        self, method: str, caller: str, library: str, outcome: str, reason: str, *, count: int
    ) -> None:
        """Count items of a stream, or results of a batch, that ended alike."""
        self._items(method, self._callers.label(caller), library, outcome, reason).inc(count)


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


class _Post(NamedTuple):
    method: str
    outcome: str
    caller: str
    seconds: float


class LibraryCounters:
    """What one library's upstream was asked, and how that went."""

    def __init__(self, families: Counters, library: str) -> None:
        self._families = families
        self._library = library
        self.name = library
        self._retries = families.retries(library)
        self._waits = families.waits(library)
        self._refusals = families.refusals(library)

    def post(self, method: str, outcome: str, seconds: float, caller: str = "") -> None:
        """Count one request to the upstream: what it came to, and how long it took.

        ``caller``: where no quota is set here, the upstream itself gives slots and refuses them.
        """
        self._families.batch.add(self._posted, _Post(method, outcome, caller, seconds))

    def _posted(self, posts: list[_Post]) -> None:
        alike: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)
        for method, outcome, caller, seconds in posts:
            alike[method, outcome, caller].append(seconds)
        for (method, outcome, caller), seconds_each in alike.items():
            count = len(seconds_each)
            self._families.posts(self._library, method, outcome).inc(count)
            self._families.seconds(self._library, method, outcome).inc(sum(seconds_each))
            if caller:
                self._slot(caller, count, refused=outcome == RateLimited.reason)

    def _slot(self, caller: str, count: int, *, refused: bool) -> None:
        label = self._families.callers.label(caller)
        self._families.slots(self._library, label, "refused" if refused else "given").inc(count)

    def retry(self) -> None:
        """Count an attempt that was not its call's first."""
        self._retries.inc()

    def breaker_refused(self, gate: str) -> None:
        """Count a call that was refused unsent: by the breaker of failures, or of the quota."""
        self._families.kept_away(self._library, gate).inc()

    def token(self, outcome: str) -> None:
        """Count a request for a token by its outcome: ``ok``, or the reason of its error."""
        self._families.tokens(self._library, outcome).inc()

    def paced(self, waited_s: float, caller: str, *, refused: bool) -> None:
        """Count a wait for a slot of the quota, and whether it ended without one."""
        self._families.batch.add(self._paced, (waited_s, caller, refused))

    def _paced(self, waits: list[tuple[float, str, bool]]) -> None:
        for waited_s, caller, refused in waits:
            self._waits.observe(waited_s)
            self._slot(caller, 1, refused=refused)
            if refused:
                self._refusals.inc()


class Counters:
    """All counters of one service, in ``registry``; those of the upstreams by library."""

    def __init__(self, *, old_names: bool = False) -> None:
        def counter(name: str, says: str, *labels: str) -> Callable[..., Counter]:
            return _counter(self.registry, name, says, "library", *labels)

        self.registry = CollectorRegistry()
        self.batch = Batch()
        self.registry.register(self.batch)
        self.rpcs = RpcCounters(self.registry, self.batch, old_names=old_names)
        self.callers = Callers()
        self.posts = counter("upstream_calls", "Attempts made.", "method", "outcome")
        self.seconds = counter("upstream_seconds", "Their time.", "method", "outcome")
        self.retries = counter("upstream_retries", "Attempts that were not a call's first.")
        self.kept_away = counter("breaker_refusals", "Calls refused unsent.", "gate")
        self.tokens = counter("token_refreshes", "Requests for a token.", "outcome")
        self.refusals = counter("pacer_refusals", "Calls whose slot came too late.")
        told = "Slots of the quota by who asked: given, or refused as too late, or by the upstream."
        self.slots = counter("caller_slots", told, "caller", "outcome")
        says = "From asking to slot or refusal."
        self.waits = _durations(self.registry, "pacer_wait_seconds", says, "library")

    def library(self, name: str) -> LibraryCounters:
        """Return the counters of one configured library."""
        return LibraryCounters(self, name)
