"""What is told of RPCs that have ended, many together: their counts, lines and spans."""

from __future__ import annotations

import logging

from productsearch_service.call_context import NOBODY
from productsearch_service.counters import RpcCounters
from productsearch_service.errors import blame_of
from productsearch_service.redaction import redact_name
from productsearch_service.rpc.access_record import AccessLog
from productsearch_service.rpc.call import NOT_THERE, OK, Call, Ending

_log = logging.getLogger(__name__)


class Reports:
    """Tells of RPCs to the metrics, the access log and the collector of spans."""

    def __init__(self, counters: RpcCounters, access_log: AccessLog) -> None:
        self._counters = counters
        self._access_log = access_log
        self.add = counters.batches.of(self._tell).add
        """Has a call that has ended told of, with others."""

    def _tell(self, calls: list[Call]) -> None:
        for call in calls:
            try:
                self._count(call)
                if call.trail.trace is not None:
                    _end_trace(call)
            except Exception:  # noqa: BLE001 - logged; the others are told of all the same
                _log.exception("counting a call failed in an unforeseen way")
        self._access_log.write(calls)

    def _count(self, call: Call) -> None:
        method, trail = call.method, call.trail
        if trail.items:
            whose = (method, call.caller.label, call.library)
            for (outcome, item_reason), count in tuple(trail.items.items()):
                self._counters.items(*whose, outcome, item_reason, count=count)
            if call.ending is OK and (alike := trail.failed_alike()):
                # On the wire the stream or batch is OK, and nothing of it was done.
                call.ending = Ending("OK", alike, blame_of(alike))
        ending = call.ending
        self._counters.ended(
            method,
            ending.code,
            ending.reason,
            call.caller.label,
            call.library,
            call.ended_s - call.began_s,
            trail.trace_id if trail.trace is not None and _has_spans(call) else "",
        )
        if trail.waited:
            waits = ("place", trail.place_s), ("fit", trail.fit_s), ("token", trail.token_s)
            for wait, seconds in (*waits, ("retry", trail.retry_s)):
                self._counters.waited(wait, seconds)
        if ending.reason != "-" or ending is NOT_THERE:
            away = trail.kept_away
            self._counters.failed(method, call.library, ending.reason, ending.blame, kept_away=away)


def _has_spans(call: Call) -> bool:
    """Whether it is recorded; a stranger's word does not make spans that push others' out."""
    return call.trail.trace is not None and call.caller is not NOBODY


def _end_trace(call: Call) -> None:
    trail, ending = call.trail, call.ending
    if trail.trace is None or not _has_spans(call):
        return
    attributes: dict[str, str | int] = {
        "caller": redact_name(call.caller.name),
        "library": redact_name(call.library_told),
        "reason": ending.reason,
        "blame": ending.blame,
        "attempts": trail.attempts,
        "log_id": str(ending.log_id or trail.log_id),  # it may have 64 bits
        "bytes_in": trail.bytes_in,
    }
    trail.trace.end(call.method, ending.code, attributes, call.ended_s)
