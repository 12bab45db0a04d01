"""One RPC from its begin to its end: who called what, how it ended, and what it did meanwhile."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from grpc_status import rpc_status

from productsearch_service.call_context import NOBODY, Caller, Trail
from productsearch_service.errors import (
    ServerDraining,
    ServerFault,
    ServiceError,
    UpstreamUnavailable,
)
from productsearch_service.rpc.admission import Place
from productsearch_service.rpc.status import status_of

# gRPC clients repeat UNAVAILABLE by themselves. What was tried three times here is not tried
# nine times: a negative push-back tells the client's retry policy to leave it.
_NO_RETRY: Final = ("grpc-retry-pushback-ms", "-1")

# Nothing of the call was begun: a proxy may send it to another replica, an add too
# (deploy/envoy/envoy.yaml, `retriable_headers`).
_NOT_BEGUN: Final = ("productsearch-not-begun", "draining")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """How an RPC ended: its code, the reason of its error ("-": none), and who has to act."""

    code: str
    reason: str = "-"
    blame: str = "none"
    upstream_code: int = 0
    log_id: int = 0


OK: Final = Ending("OK")
LEFT: Final = Ending("CANCELLED", blame="caller")
CUT_OFF: Final = Ending("UNAVAILABLE", ServerDraining.reason, ServerDraining.blame)
"""By the end of the replica, in gRPC's own words."""
NOT_THERE: Final = Ending("UNIMPLEMENTED", blame="caller")
"""The method is not there; gRPC has no more to say, so it is no reason of ours."""


@dataclass(slots=True, eq=False)
class Call:
    """One RPC; ``tell`` gets it once it has ended. Times are of the monotonic clock."""

    method: str
    tell: Callable[[Call], None]
    caller: Caller = NOBODY
    peer: str = ""
    """The address that a call without a proved name came from."""
    library: str = ""
    """As metrics call it; empty until the library's name was read."""
    library_told: str = ""
    trail: Trail = field(default_factory=Trail)
    headers: Sequence[tuple[str, str | bytes]] | None = None
    """Its metadata, if they were read before its caller is known: reading them takes time."""
    place: Place | None = None
    """What it holds while it is carried out, and until its answer was taken."""
    ending: Ending = OK
    left_out: int = 0
    """How many calls like it got no line of the access log since the last one that did."""
    began_s: float = field(default_factory=time.monotonic)
    ended_s: float = 0.0

    @property
    def seconds(self) -> float:
        """Return how long it took."""
        return self.ended_s - self.began_s

    def failed(self, error: Exception) -> tuple[grpc.StatusCode, str, tuple[Any, ...]]:
        """End the RPC and return how: with what the caller may know of ``error``."""
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
        """Note that the RPC ended now, and tell of it."""
        self.ending, self.ended_s = ending, time.monotonic()
        self.tell(self)
