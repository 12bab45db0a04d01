"""Spaces calls so that the upstream's quota is used, not overrun, and shared fairly.

A call answered with error 18 is a wasted call, and a queue without an end answers everyone too
late. So calls wait for slots, a slot apart from the next, and whoever cannot be answered before
its deadline is told at once how long to wait. Within a caller the order is that of arrival;
between callers it goes round. Searches and writes wait in two queues, and of four slots that
both want, searches get three: someone waits for a search, and a flood of adds can wait.

``Schedule`` decides and has no clock: times are arguments, so a test runs ten minutes in a moment.
``Pacer`` lets tasks wait for what it decides.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from productsearch_service import limits
from productsearch_service.call_context import Caller, Deadline
from productsearch_service.counters import LibraryCounters
from productsearch_service.errors import DeadlineTooShort, RateLimited
from productsearch_service.upstream.pacing.latency import Latency
from productsearch_service.upstream.pacing.rate import Rate
from productsearch_service.upstream.stats import PacerStats

_SEARCHES_IN_A_ROW: Final = 3
_LATENCIES_MAX: Final = 1024
_RETRY_MIN_S: Final = 0.05
_TIMER_LAG_S: Final = 0.002
"""How late an event loop's timers are."""


@dataclass(eq=False, slots=True)
class Ticket:
    """A call that waits for its slot."""

    caller: str
    deadline_s: float
    patience_s: float
    share: int = 1
    refused: bool = False
    ready: asyncio.Future[None] | None = None
    """Done when the ticket is served or refused."""


class _Queue:
    """Tickets of many callers, served round by round; a caller has ``share`` turns in each."""

    def __init__(self) -> None:
        self._by_caller: dict[str, deque[Ticket]] = {}
        self._turns_taken = 0
        """By the caller whose turn it is."""
        self.length = 0

    def rank(self, caller: str, share: int, *, first: bool = False) -> int:
        """Return how many tickets would be served before a new one of ``caller``.

        ``first``: if it had none that wait.
        """
        own = 0 if first else len(self._by_caller.get(caller, ()))
        rounds = own // share + 1
        return own + sum(
            min(len(waiting), rounds * waiting[0].share)
            for other, waiting in self._by_caller.items()
            if other != caller
        )

    def push(self, ticket: Ticket) -> None:
        self._by_caller.setdefault(ticket.caller, deque()).append(ticket)
        self.length += 1

    def pop(self) -> Ticket:
        """Take the next ticket; after its last turn its caller goes to the end of the round."""
        caller, waiting = next(iter(self._by_caller.items()))
        ticket = waiting.popleft()
        self._turns_taken += 1
        if not waiting or self._turns_taken >= ticket.share:
            del self._by_caller[caller]
            self._turns_taken = 0
            if waiting:
                self._by_caller[caller] = waiting
        self.length -= 1
        return ticket

    def remove(self, ticket: Ticket) -> bool:
        """Take a ticket out of the middle; return whether it was there."""
        waiting = self._by_caller.get(ticket.caller)
        if waiting is None or ticket not in waiting:
            return False
        waiting.remove(ticket)
        if not waiting:
            if ticket.caller == next(iter(self._by_caller)):
                self._turns_taken = 0
            del self._by_caller[ticket.caller]
        self.length -= 1
        return True


class Schedule:
    """Who gets the next slot, and when. Times are seconds of one clock."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._searches, self._writes = _Queue(), _Queue()
        self._searches_in_a_row = 0
        self._next_slot_s = 0.0

    @property
    def waiting(self) -> int:
        """Tickets that wait."""
        return self._searches.length + self._writes.length

    def offer(
        self, caller: str, deadline_s: float, now_s: float, *, is_search: bool, share: int = 1
    ) -> Ticket:
        """Queue a call that must begin by ``deadline_s``; raise RateLimited if it cannot.

        DeadlineTooShort is raised where waiting is not the reason: no slot could be early enough.
        """
        if deadline_s < now_s:
            raise too_short(now_s - deadline_s)
        queue = self._searches if is_search else self._writes
        ticket = Ticket(caller, deadline_s, deadline_s - now_s, share)
        if self._slot_s(queue, queue.rank(caller, share), now_s) > deadline_s:
            raise too_many(self.wait_s(ticket, now_s, is_search=is_search))
        queue.push(ticket)
        return ticket

    def wait_s(self, ticket: Ticket, now_s: float, *, is_search: bool) -> float:
        """Return after how long a ticket like this one is accepted, if nobody else comes.

        Once its caller's others are served, if it can wait for those of other callers that then
        come first; else once nearly all are.
        """
        queue = self._searches if is_search else self._writes
        interval_s = self._rate.interval_s(now_s)
        next_s = max(now_s, self._next_slot_s)
        first = queue.rank(ticket.caller, ticket.share, first=True)
        first_s = self._slot_s(queue, first + 1, now_s) - next_s
        if first_s <= ticket.patience_s:
            rank = queue.rank(ticket.caller, ticket.share)
            return self._slot_s(queue, rank, now_s) - now_s + _TIMER_LAG_S
        return next_s + self.waiting * interval_s - ticket.patience_s - now_s + _TIMER_LAG_S

    def slot_wait_s(self, caller: str, share: int, now_s: float, *, is_search: bool) -> float:
        """Return for how long a call that comes now would wait for its slot."""
        queue = self._searches if is_search else self._writes
        return self._slot_s(queue, queue.rank(caller, share), now_s) - now_s

    def take(self, now_s: float) -> tuple[Ticket | None, float]:
        """Return the ticket whose slot is now, if any, and when to ask again."""
        if not self.waiting:
            return None, float("inf")
        if now_s < self._next_slot_s:
            return None, self._next_slot_s
        ticket = self._next_queue().pop()
        ticket.refused = ticket.deadline_s < now_s
        if not ticket.refused:
            # What timers lag behind is made up for, else a large quota could not be used.
            begun_s = max(self._next_slot_s, now_s - _TIMER_LAG_S)
            self._next_slot_s = begun_s + self._rate.interval_s(now_s)
        return ticket, self._next_slot_s

    def withdraw(self, ticket: Ticket) -> None:
        """Forget a ticket that nobody waits for any more."""
        if not self._searches.remove(ticket):
            self._writes.remove(ticket)

    def _slot_s(self, queue: _Queue, before: int, now_s: float) -> float:
        """Return when a ticket with so many before it in its queue would be served."""
        if queue is self._searches:
            before += min(self._writes.length, (before + 1) // _SEARCHES_IN_A_ROW)
        else:
            before += min(self._searches.length, (before + 1) * _SEARCHES_IN_A_ROW)
        return max(now_s, self._next_slot_s) + before * self._rate.interval_s(now_s)

    def _next_queue(self) -> _Queue:
        owed = self._searches_in_a_row >= _SEARCHES_IN_A_ROW and self._writes.length > 0
        if self._searches.length and not owed:
            self._searches_in_a_row += 1
            return self._searches
        self._searches_in_a_row = 0
        return self._writes if self._writes.length else self._searches


@dataclass(frozen=True, slots=True)
class _LastCall:
    """A caller's last call: how long it could wait, and in which queue."""

    caller: Caller
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
        """Return by caller for how many seconds more a call like its last one could wait."""
        schedule, now_s, found = self._schedule, self._clock(), {}
        if schedule is None:
            return {}
        for label, last in (*self._last.items(),):
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
        refused = True
        try:
            await self._wait(self._schedule, caller, deadline, is_search=is_search)
            refused = False
        finally:
            self._counters.paced(self._clock() - began_s, caller.label, refused=refused)

    async def _wait(
        self, schedule: Schedule, caller: Caller, deadline: Deadline, *, is_search: bool
    ) -> None:
        now_s = self._clock()
        begin_by_s = deadline.at_s - self._expected_s(caller.name, now_s, is_search=is_search)
        if caller.label in self._last or len(self._last) < limits.CALLER_LABELS_MAX:
            self._last[caller.label] = _LastCall(caller, begin_by_s - now_s, is_search)
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


def too_many(wait_s: float) -> RateLimited:
    """Return the refusal of a call that would wait ``wait_s`` seconds for its slot."""
    return RateLimited(
        "more calls are waiting than the library's calls per second can answer in time",
        retry_after_s=max(wait_s, _RETRY_MIN_S),
    )


def too_short(lacking_s: float) -> DeadlineTooShort:
    """Return the refusal of a call that lacks ``lacking_s`` seconds even without a queue."""
    return DeadlineTooShort(
        "the deadline ends before the upstream usually answers; "
        f"set one that is at least {lacking_s * 1000:.0f} ms longer"
    )
