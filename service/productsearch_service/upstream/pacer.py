"""Spaces calls so that the upstream's quota is used, not overrun, and shared fairly.

A call answered with error 18 is a wasted call, and a queue without an end answers everyone too
late. So calls wait for slots, a slot apart from the next, and whoever cannot be answered before
its deadline is told at once how long to wait. Within a caller the order is that of arrival;
between callers it goes round. Searches and writes wait in two queues, and of four slots that
both want, searches get three: someone waits for a search, and a flood of adds can wait.

``Schedule`` decides and knows no threads: its clock is an argument, so a test runs ten minutes
in a moment. ``Pacer`` lets threads wait for what it decides.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from productsearch_service import limits
from productsearch_service.errors import RateLimited
from productsearch_service.operations.tally import Tally
from productsearch_service.operations.vitals import PacerVitals
from productsearch_service.upstream.latency import Latency
from productsearch_service.upstream.rate import Rate

if TYPE_CHECKING:
    from collections.abc import Callable

    from productsearch_service.calls import Ask

_SEARCHES_IN_A_ROW: Final = 3


@dataclass(eq=False, slots=True)
class Ticket:
    """A call that waits for its slot."""

    caller: str
    deadline_s: float
    share: int = 1
    ready: threading.Event = field(default_factory=threading.Event, repr=False)
    refused: bool = False


class _Queue:
    """Tickets of many callers, served round by round; a caller has ``share`` turns in each."""

    def __init__(self) -> None:
        self._by_caller: dict[str, deque[Ticket]] = {}
        self._turns_taken = 0
        """By the caller whose turn it is."""
        self.length = 0

    def rank(self, caller: str, share: int) -> int:
        """Return how many tickets would be served before a new one of ``caller``."""
        own = len(self._by_caller.get(caller, ()))
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
    """Who gets the next slot, and when; not thread-safe, times are seconds of one clock."""

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
        """Queue a call that must begin by ``deadline_s``; raise RateLimited if it cannot."""
        queue = self._searches if is_search else self._writes
        slot_s = self._slot_s(queue, queue.rank(caller, share), now_s)
        if slot_s > deadline_s:
            raise too_many(slot_s - now_s)
        ticket = Ticket(caller, deadline_s, share)
        queue.push(ticket)
        return ticket

    def take(self, now_s: float) -> tuple[Ticket | None, float]:
        """Return the ticket whose slot is now, if any, and when to ask again."""
        if not self.waiting:
            return None, float("inf")
        if now_s < self._next_slot_s:
            return None, self._next_slot_s
        ticket = self._next_queue().pop()
        ticket.refused = ticket.deadline_s < now_s
        if not ticket.refused:
            self._next_slot_s = now_s + self._rate.interval_s(now_s)
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


class Pacer:
    """Slots for the calls of one library. Thread-safe.

    ``calls_per_s`` is this replica's part of the quota; 0 means that there is no quota.
    """

    def __init__(self, calls_per_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rate = Rate(calls_per_s * limits.QUOTA_SHARE) if calls_per_s else None
        self._schedule = Schedule(self._rate) if self._rate else None
        self._latency = Latency()
        self._waits: Tally[str] = Tally()
        self._closed = False
        self._changed = threading.Condition()
        if self._schedule is not None:
            threading.Thread(target=self._serve, name="pacer", daemon=True).start()

    @property
    def vitals(self) -> PacerVitals:
        """How the queue is doing."""
        with self._changed:
            waiting = self._schedule.waiting if self._schedule else 0
            per_s = self._rate.per_s(self._clock()) if self._rate else None
        waited_s = sum(self._waits.seconds().values())
        return PacerVitals(waiting, per_s, self._waits.counts(), waited_s)

    def wait(self, ask: Ask, *, is_search: bool) -> None:
        """Wait for the next slot; raise RateLimited if it comes too late for an answer."""
        if self._schedule is None:
            return
        began_s = self._clock()
        try:
            self._wait(self._schedule, ask, is_search)
        except RateLimited:
            self._waits.add("refused", self._clock() - began_s)
            raise
        self._waits.add("paced", self._clock() - began_s)

    def _wait(self, schedule: Schedule, ask: Ask, is_search: bool) -> None:
        deadline = ask.deadline
        begin_by_s = deadline.at_s - self._latency.expected_s
        with self._changed:
            ticket = schedule.offer(
                ask.caller, begin_by_s, self._clock(), is_search=is_search, share=ask.share
            )
            self._changed.notify()
        if not ticket.ready.wait(deadline.remaining_s()):
            with self._changed:
                schedule.withdraw(ticket)
            ticket.refused = True
        if ticket.refused:
            raise too_many(self._rate.interval_s(self._clock()) if self._rate else 0.0)

    def answered(self, latency_s: float) -> None:
        """Learn how long the upstream took: admission keeps that much time for the answer."""
        self._latency.learn(latency_s)

    def exceeded(self) -> None:
        """Learn that error 18 came all the same: somebody else uses the key."""
        if self._rate is not None:
            with self._changed:
                self._rate.exceeded(self._clock())

    def close(self) -> None:
        """End the thread; whoever still waits is refused at its deadline."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _serve(self) -> None:
        if self._schedule is None:
            return
        with self._changed:
            while not self._closed:
                ticket, again_s = self._schedule.take(self._clock())
                if ticket is not None:
                    ticket.ready.set()
                elif again_s == float("inf"):
                    self._changed.wait()
                else:
                    self._changed.wait(max(0.0, again_s - self._clock()))


def too_many(wait_s: float) -> RateLimited:
    """Return the refusal of a call that would wait ``wait_s`` seconds for its slot."""
    return RateLimited(
        "more calls are waiting than the library's calls per second can answer in time",
        retry_after_s=wait_s,
    )
