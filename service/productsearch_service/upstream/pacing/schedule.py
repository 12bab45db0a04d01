"""Spaces calls so that the upstream's quota is used, not overrun, and shared fairly.

A call answered with error 18 is a wasted call, and a queue without an end answers everyone too
late. So calls wait for slots, a slot apart from the next, and whoever cannot be answered before
its deadline is told at once how long to wait. Within a caller the order is that of arrival;
between callers it goes round. Searches and writes wait in two queues, and of four slots that
both want, searches get three: someone waits for a search, and a flood of adds can wait.

It has no clock: times are arguments, so a test runs ten minutes in a moment.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from productsearch_service.errors import DeadlineTooShort, RateLimited
from productsearch_service.upstream.pacing.rate import Rate

_SEARCHES_IN_A_ROW: Final = 3
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
