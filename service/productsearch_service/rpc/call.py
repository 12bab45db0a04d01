"""One RPC as the access log, the metrics and its spans tell of it once it has ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from grpc_status import rpc_status

from productsearch_service.call_context import NOBODY, Caller, Trail
from productsearch_service.counters import RpcCounters
from productsearch_service.errors import (
    ServerDraining,
    ServerFault,
    ServiceError,
    UpstreamUnavailable,
    blame_of,
)
from productsearch_service.redaction import redact_name
from productsearch_service.rpc.access_record import AccessLog, Ending
from productsearch_service.rpc.status import status_of

# gRPC clients repeat UNAVAILABLE by themselves. What was tried three times here is not tried
# nine times: a negative push-back tells the client's retry policy to leave it.
_NO_RETRY: Final = ("grpc-retry-pushback-ms", "-1")

# Nothing of the call was begun: a proxy may send it to another replica, an add too
# (deploy/envoy/envoy.yaml, `retriable_headers`).
_NOT_BEGUN: Final = ("productsearch-not-begun", "draining")

OK: Final = Ending("OK")
LEFT: Final = Ending("CANCELLED", blame="caller")
CUT_OFF: Final = Ending("UNAVAILABLE", ServerDraining.reason, ServerDraining.blame)
"""By the end of the replica, in gRPC's own words."""
NOT_THERE: Final = Ending("UNIMPLEMENTED", blame="caller")
"""The method is not there; gRPC has no more to say, so it is no reason of ours."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Call:
    """One RPC: who called what, how long ago, and what it did since."""

    method: str
    counters: RpcCounters
    log: AccessLog
    caller: Caller = NOBODY
    library: str = ""
    """As metrics call it; empty until the library's name was read."""
    library_told: str = ""
    trail: Trail = field(default_factory=Trail)
    headers: Sequence[tuple[str, str | bytes]] | None = None
    """Its metadata, if they were read before its caller is known: reading them takes time."""
    began_s: float = field(default_factory=time.monotonic)

    def failed(self, error: Exception) -> tuple[grpc.StatusCode, str, tuple[Any, ...]]:
        """Count the RPC and return how it ends: with what the caller may know of ``error``."""
        if not isinstance(error, ServiceError):
            # grpc would send the text of the exception to the caller.
            _log.error("%s failed in an unforeseen way", self.method, exc_info=error)
            error = ServerFault("the service failed; its log says why")
        status = rpc_status.to_status(status_of(error))
        words = error.upstream
        told = (words.code, words.log_id) if words is not None else ()
        self.ended(Ending(status.code.name, error.reason, error.blame, *told))
        trailers = tuple(status.trailing_metadata or ())
        if isinstance(error, UpstreamUnavailable):
            trailers += (_NO_RETRY,)
        if isinstance(error, ServerDraining):
            trailers += (_NOT_BEGUN,)
        return status.code, status.details or "", trailers

    def ended(self, ending: Ending) -> None:
        """Have the RPC counted, logged and its spans made, with those of others."""
        self.counters.batch.add(self._told, ending, time.monotonic(), time.time())

    def _told(self, ending: Ending, ended_s: float, at_s: float) -> None:
        """Tell of the RPC, which ended then by the monotonic clock and by the wall clock."""
        seconds = ended_s - self.began_s
        method, trail = self.method, self.trail
        for (outcome, item_reason), count in tuple((trail.items or {}).items()):
            self.counters.item(method, outcome, item_reason, count)
        if ending is OK and (alike := trail.failed_alike()):
            # On the wire the stream or batch is OK, and nothing of it was done.
            ending = Ending("OK", alike, blame_of(alike))
        reason = "" if ending.reason == "-" else ending.reason
        self.counters.ended(
            method, ending.code, reason, self.caller.label, self.library, seconds=seconds
        )
        if reason or ending is NOT_THERE:
            self.counters.failed(
                method, self.library, ending.reason, ending.blame, kept_away=trail.kept_away
            )
        self.log.write(method, self.library_told, self.caller.name, ending, trail, seconds, at_s)
        # A stranger's word does not make spans: its calls would push those of others out.
        if trail.trace is not None and self.caller is not NOBODY:
            trail.trace.end(method, ending.code, self._attributes(ending), ended_s)

    def _attributes(self, ending: Ending) -> dict[str, str | int]:
        return {
            "caller": redact_name(self.caller.name),
            "library": redact_name(self.library_told),
            "reason": ending.reason,
            "blame": ending.blame,
            "attempts": self.trail.attempts,
            "log_id": str(ending.log_id or self.trail.log_id),  # it may have 64 bits
            "bytes_in": self.trail.bytes_in,
        }
