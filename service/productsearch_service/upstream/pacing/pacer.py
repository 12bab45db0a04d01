"""Lets calls wait for their slots of the upstream's quota, as the schedule decides.

Knows clocks, timers and tasks. Does not know who comes before whom.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from productsearch_service import limits
from productsearch_service.call_context import Caller, Deadline
from productsearch_service.counters import LibraryCounters
from productsearch_service.errors import RateLimited
from productsearch_service.upstream.pacing.latency import Latency
from productsearch_service.upstream.pacing.rate import Rate
from productsearch_service.upstream.pacing.schedule import Schedule, too_many
from productsearch_service.upstream.stats import PacerStats

_LATENCIES_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class _LastCall:
    """A caller's last call: when it came, how long it could wait, and in which queue."""

    caller: Caller
    came_s: float
    patience_s: float
    is_search: bool


class Pacer:
    """Slots for the calls of one library.

    ``calls_per_s`` is this replica's part of the quota; 0 means that there is no quota.
    """

    def __init__(
        self,
        calls_per_s: float,
        counters: LibraryCounters,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._counters = counters
        self._rate = Rate(calls_per_s * limits.QUOTA_SHARE) if calls_per_s else None
        self._schedule = Schedule(self._rate) if self._rate else None
        self.is_open = self._schedule is None
        """Whether no call waits, as there is no quota."""
        self._latencies: dict[tuple[str, bool], Latency] = {}
        """Of a caller's searches, and of its writes, which are expected to take as the others where
        there were none. What others send may take the upstream longer, or less."""
        self._timer: asyncio.TimerHandle | None = None
        self._limit_per_s = calls_per_s or None
        self._last: dict[str, _LastCall] = {}
        """By the caller's label: they are few."""

    @property
    def stats(self) -> PacerStats:
        """How the queue is doing."""
        waiting = self._schedule.waiting if self._schedule else 0
        rate_per_s = self._rate.per_s(self._clock()) if self._rate else None
        return PacerStats(waiting, rate_per_s, self._limit_per_s, self._headroom_s)

    def _headroom_s(self) -> dict[str, float]:
        """Return by caller for how many seconds more a call like its last one could wait.

        Nothing of who has not called for a while, or sets deadlines that no slot could meet.
        """
        schedule, now_s, found = self._schedule, self._clock(), {}
        if schedule is None:
            return {}
        for label, last in (*self._last.items(),):
            if now_s - last.came_s > limits.HEADROOM_TOLD_S:
                continue
            # Asked in a thread: a queue may change meanwhile, and is then looked at next time.
            with suppress(IndexError, RuntimeError):
                wait_s = schedule.slot_wait_s(
                    last.caller.name, last.caller.share, now_s, is_search=last.is_search
                )
                found[label] = last.patience_s - wait_s
        return found

    async def wait(self, caller: Caller, deadline: Deadline, *, is_search: bool) -> None:
        """Wait for the next slot.

        Raises RateLimited if it comes too late for an answer before the deadline, and
        DeadlineTooShort if even a slot at once would.
        """
        if self._schedule is None:
            return
        began_s = self._clock()
        try:
            await self._wait(self._schedule, caller, deadline, is_search=is_search)
        except RateLimited:
            self._counters.paced(self._clock() - began_s, caller.label, refused=True)
            raise
        # Who leaves while it waits, or whose deadline no slot could meet, was refused none.
        self._counters.paced(self._clock() - began_s, caller.label, refused=False)

    async def _wait(
        self, schedule: Schedule, caller: Caller, deadline: Deadline, *, is_search: bool
    ) -> None:
        now_s = self._clock()
        begin_by_s = deadline.at_s - self._expected_s(caller.name, now_s, is_search=is_search)
        known = caller.label in self._last or len(self._last) < limits.CALLER_LABELS_MAX
        if known and begin_by_s >= now_s:
            self._last[caller.label] = _LastCall(caller, now_s, begin_by_s - now_s, is_search)
        ticket = schedule.offer(
            caller.name, begin_by_s, now_s, is_search=is_search, share=caller.share
        )
        ticket.ready = asyncio.get_running_loop().create_future()
        self._serve()
        try:
            async with deadline.timeout():
                await ticket.ready
        except TimeoutError:
            ticket.refused = True
        finally:
            # Whoever has left, by its deadline or by a cancellation, holds no slot.
            schedule.withdraw(ticket)
        if ticket.refused:
            raise too_many(schedule.wait_s(ticket, self._clock(), is_search=is_search))

    def _expected_s(self, caller: str, now_s: float, *, is_search: bool) -> float:
        for kind in (is_search, not is_search):
            if (known := self._latencies.get((caller, kind))) is not None:
                return known.expected_s(now_s)
        return limits.CALL_MIN_S

    def answered(self, caller: str, latency_s: float, *, is_search: bool) -> None:
        """Learn how long a successful call took: admission keeps that much time for an answer."""
        known = self._latencies.get((caller, is_search))
        if known is None:
            if len(self._latencies) >= _LATENCIES_MAX:
                del self._latencies[next(iter(self._latencies))]
            known = self._latencies[caller, is_search] = Latency()
        known.learn(latency_s, self._clock())

    def exceeded(self) -> None:
        """Learn that error 18 came all the same: somebody else uses the key."""
        if self._rate is not None:
            self._rate.exceeded(self._clock())

    def close(self) -> None:
        """Serve nobody any more; whoever still waits is refused at its deadline."""
        if self._timer is not None:
            self._timer.cancel()
        self._schedule = None

    def _serve(self) -> None:
        """Serve whoever has a slot now, and come back for the next one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._schedule is None:
            return
        while True:
            ticket, again_s = self._schedule.take(self._clock())
            if ticket is None:
                break
            if ticket.ready is not None and not ticket.ready.done():
                ticket.ready.set_result(None)
        if again_s < math.inf:
            wait_s = max(0.0, again_s - self._clock())
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._serve)
