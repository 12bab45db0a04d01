"""Bounds what one replica has under way: calls and bytes, in all and for each caller.

Requests over a limit are rejected immediately with SERVER_OVERLOADED, and all requests with
SERVER_DRAINING once the replica is about to stop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from productsearch_service import limits
from productsearch_service.call_context import Caller
from productsearch_service.errors import ServerDraining, ServerOverloaded


class Places:
    """Counts calls of one kind, and the bytes of their requests.

    A caller alone may hold all places; once others are there, it must leave them a part, so that
    a flood from one leaves room for the rest: ``others_share`` of the places, divided by the
    caller's own share.
    """

    def __init__(self, *, calls_max: int, bytes_max: int, others_share: float) -> None:
        self._calls_max = calls_max
        self._bytes_max = bytes_max
        self._others_share = others_share
        self._calls: Counter[str] = Counter()
        self._bytes = 0

    @contextmanager
    def held(self, caller: Caller, size_bytes: int) -> Iterator[None]:
        """Hold a place for one call with a request of ``size_bytes``; raise ServerOverloaded."""
        full = self._full(caller, size_bytes)
        if full:
            raise ServerOverloaded(full, retry_after_s=limits.OVERLOAD_RETRY_S)
        self._calls[caller.name] += 1
        self._bytes += size_bytes
        try:
            yield
        finally:
            self._bytes -= size_bytes
            self._calls[caller.name] -= 1
            if not self._calls[caller.name]:
                del self._calls[caller.name]

    @property
    def in_flight(self) -> tuple[int, int]:
        """Calls and their bytes."""
        return self._calls.total(), self._bytes

    def _full(self, caller: Caller, size_bytes: int) -> str:
        """Return what is full, or nothing."""
        total = self._calls.total()
        if total >= self._calls_max:
            return "this replica has as many calls under way as it may"
        if self._bytes + size_bytes > self._bytes_max:
            return "this replica holds as many bytes as it may"
        own = self._calls[caller.name]
        own_max = max(1, int(self._calls_max * (1 - self._others_share / caller.share)))
        if own_max <= own < total:
            return "this caller has its share of this replica's calls under way"
        return ""


class Admission:
    """The places of unary calls and of streams, until the replica is about to stop."""

    def __init__(self) -> None:
        self.unary = Places(
            calls_max=limits.RPCS_IN_FLIGHT_MAX,
            bytes_max=limits.BYTES_IN_FLIGHT_MAX,
            others_share=limits.OTHERS_SHARE,
        )
        self.streams = Places(
            calls_max=limits.BULK_STREAMS_MAX,
            bytes_max=limits.BYTES_IN_FLIGHT_MAX,
            others_share=limits.OTHERS_SHARE,
        )
        self.draining = asyncio.Event()
        """Set once the replica is about to stop; streams under way end early then."""

    def check(self) -> None:
        """Raise ServerDraining if the replica is about to stop."""
        if self.draining.is_set():
            raise stopping()


def stopping() -> ServerDraining:
    """Return the refusal of a replica that is about to stop."""
    return ServerDraining(
        "this replica is about to stop; call again and another one answers",
        retry_after_s=limits.DRAIN_RETRY_S,
    )
