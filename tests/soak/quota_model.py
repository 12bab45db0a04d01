"""A quota and its users in virtual time: arrivals, an upstream that counts windows, limiters.

The product's own ``Schedule`` and ``Rate`` run here unchanged; only the clock is virtual. The
other limiters are what people use instead: none, blind retries, a token bucket with a queue.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from productsearch_service import limits
from productsearch_service.errors import DeadlineTooShort, RateLimited
from productsearch_service.upstream.pacing.latency import Latency
from productsearch_service.upstream.pacing.rate import Rate
from productsearch_service.upstream.pacing.schedule import Schedule, Ticket

QUOTA = 10.0
"""Calls per second of the key."""


@dataclass
class Request:
    """A caller's call and what became of it; times in virtual seconds."""

    caller: str
    at_s: float
    deadline_s: float
    is_search: bool = True
    begun_s: float = 0.0
    answered_s: float = 0.0
    outcome: str = "waiting"

    @property
    def good(self) -> bool:
        """Whether it was answered well and in time."""
        return self.outcome == "ok" and self.answered_s <= self.deadline_s


class Clock:
    """Runs events in the order of their times."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, time_s: float, event: Callable[[], None]) -> None:
        """Run an event at a time."""
        heapq.heappush(self._events, (max(time_s, self.now_s), next(self._order), event))

    def run(self) -> None:
        """Run until no event is left."""
        while self._events:
            self.now_s, _, event = heapq.heappop(self._events)
            event()


class Upstream:
    """Counts calls in windows of a second with a phase of its own; over the quota: error 18."""

    def __init__(self, clock: Clock, chance: random.Random) -> None:
        self._clock = clock
        self._chance = chance
        self._phase_s = chance.random()
        self._windows: Counter[int] = Counter()
        self.calls: list[tuple[float, bool]] = []
        """Our calls: when, and whether they were refused with error 18."""

    def taken(self) -> bool:
        """Count a call of anyone; return whether it is over the quota."""
        window = int(self._clock.now_s + self._phase_s)
        self._windows[window] += 1
        return self._windows[window] > QUOTA

    def call(self, answered: Callable[[bool], None]) -> None:
        """Make a call of ours; ``answered`` is told whether error 18 came.

        The way there takes 2 ms and a bit, one call in a hundred 30 ms more: what left evenly
        spaced does not arrive so.
        """
        way_s = 0.002 + self._chance.expovariate(200)
        way_s += 0.03 if self._chance.random() < 0.01 else 0.0
        self._clock.at(self._clock.now_s + way_s, lambda: self._arrived(answered))

    def _arrived(self, answered: Callable[[bool], None]) -> None:
        refused = self.taken()
        self.calls.append((self._clock.now_s, refused))
        latency_s = 0.02 if refused else self._chance.lognormvariate(-1.3, 0.3)
        self._clock.at(self._clock.now_s + latency_s, lambda: answered(refused))


class Limiter(Protocol):
    """What stands between requests and the upstream."""

    def arrive(self, request: Request) -> None:
        """Take a request that arrives now."""


class Unlimited:
    """Sends at once; tries again at once after error 18, ``retries`` times."""

    def __init__(self, clock: Clock, upstream: Upstream, retries: int = 0) -> None:
        self._clock = clock
        self._upstream = upstream
        self._retries = retries

    def arrive(self, request: Request, tried: int = 0) -> None:
        """Send."""
        request.begun_s = request.begun_s or self._clock.now_s

        def answered(refused: bool) -> None:
            if refused and tried < self._retries:
                self.arrive(request, tried + 1)
                return
            request.answered_s = self._clock.now_s
            request.outcome = "error 18" if refused else "ok"

        self._upstream.call(answered)


class TokenBucket:
    """A bucket of the quota's size and a queue without a bound, in order of arrival."""

    def __init__(self, clock: Clock, upstream: Upstream) -> None:
        self._clock = clock
        self._send = Unlimited(clock, upstream)
        self._free_s = -1.0

    def arrive(self, request: Request) -> None:
        """Send when there is a token; at most a second's worth is saved up."""
        self._free_s = max(self._free_s + 1 / QUOTA, self._clock.now_s - 1)
        self._clock.at(self._free_s, lambda: self._send.arrive(request))


@dataclass
class Refusal:
    """A refusal of ours: when, what RetryInfo said, and how many grants had been made."""

    at_s: float
    retry_after_s: float
    grants_before: int


class Paced:
    """The product: Schedule and Rate, error 18 told to Rate and tried again after a second."""

    def __init__(self, clock: Clock, upstream: Upstream) -> None:
        self._clock = clock
        self._upstream = upstream
        self._rate = Rate(QUOTA * limits.QUOTA_SHARE)
        self._schedule = Schedule(self._rate)
        self._waiting: dict[int, Request] = {}
        self._latency = Latency()
        self._asked_s = -1.0
        self.grants: list[float] = []
        self.refusals: list[Refusal] = []

    def arrive(self, request: Request) -> None:
        """Queue or refuse."""
        now_s = self._clock.now_s
        begin_by_s = request.deadline_s - self._latency.expected_s(now_s)
        try:
            ticket = self._schedule.offer(
                request.caller, begin_by_s, now_s, is_search=request.is_search
            )
        except DeadlineTooShort:
            # No slot would be early enough, and it is not the queue's doing: nothing to wait for.
            request.answered_s, request.outcome = now_s, "too short"
            return
        except RateLimited as refused:
            request.answered_s, request.outcome = now_s, "refused"
            after_s = refused.retry_after_s or 0.0
            self.refusals.append(Refusal(now_s, after_s, len(self.grants)))
            return
        self._waiting[id(ticket)] = request
        self._serve()

    def _serve(self) -> None:
        while True:
            ticket, again_s = self._schedule.take(self._clock.now_s)
            if ticket is None:
                break
            self._grant(ticket)
        if again_s != float("inf") and again_s != self._asked_s:
            self._asked_s = again_s
            self._clock.at(again_s, self._serve)

    def _grant(self, ticket: Ticket) -> None:
        request = self._waiting.pop(id(ticket))
        if ticket.refused:
            request.answered_s, request.outcome = self._clock.now_s, "refused"
            return
        self.grants.append(self._clock.now_s)
        request.begun_s = request.begun_s or self._clock.now_s
        began_s = self._clock.now_s
        self._upstream.call(lambda refused: self._answer(request, refused, began_s))

    def _answer(self, request: Request, refused: bool, began_s: float) -> None:
        now_s = self._clock.now_s
        self._latency.learn(now_s - began_s, now_s)
        if not refused:
            request.answered_s, request.outcome = now_s, "ok"
            return
        self._rate.exceeded(now_s)
        request.answered_s, request.outcome = now_s, "error 18"
        if now_s + limits.QPS_BACKOFF_MIN_S < request.deadline_s:
            self._clock.at(now_s + limits.QPS_BACKOFF_MIN_S, lambda: self.arrive(request))


@dataclass
class Stream:
    """One caller's demand: calls per second at random times, each with its patience."""

    caller: str
    per_s: float
    patience_s: float = 2.0
    is_search: bool = True

    def requests(self, seconds: float, chance: random.Random) -> Iterator[Request]:
        """Yield the requests of so many seconds."""
        at_s = chance.expovariate(self.per_s)
        while at_s < seconds:
            yield Request(self.caller, at_s, at_s + self.patience_s, self.is_search)
            at_s += chance.expovariate(self.per_s)


@dataclass
class Outcome:
    """What a run came to."""

    seconds: float
    requests: list[Request]
    upstream: Upstream
    limiter: Limiter = field(repr=False)

    @property
    def good_per_s(self) -> float:
        """Good answers per second."""
        return sum(request.good for request in self.requests) / self.seconds

    @property
    def error_18_share(self) -> float:
        """Part of the upstream's calls that were refused with error 18."""
        return sum(refused for _, refused in self.upstream.calls) / len(self.upstream.calls)

    @property
    def calls_per_success(self) -> float:
        """The upstream's calls for each good answer."""
        return len(self.upstream.calls) / max(1, sum(request.good for request in self.requests))

    @property
    def late_share(self) -> float:
        """Part of the answers that came after their deadline."""
        answers = [request for request in self.requests if request.outcome == "ok"]
        return sum(not request.good for request in answers) / max(1, len(answers))

    @property
    def shed_share(self) -> float:
        """Part of the requests that were refused."""
        return sum(request.outcome != "ok" for request in self.requests) / len(self.requests)


def run(
    limiter: Callable[[Clock, Upstream], Limiter],
    streams: list[Stream],
    seconds: float,
    seed: int,
    strangers_per_s: float = 0.0,
    strangers_until_s: float = 0.0,
) -> Outcome:
    """Run the streams through a limiter; strangers use the same key past it, for a while."""
    chance, clock = random.Random(seed), Clock()
    upstream = Upstream(clock, chance)
    chosen = limiter(clock, upstream)
    requests = [request for stream in streams for request in stream.requests(seconds, chance)]
    for request in requests:
        clock.at(request.at_s, lambda request=request: chosen.arrive(request))  # type: ignore[misc]
    if strangers_per_s:
        stranger = Stream("stranger", strangers_per_s)
        for other in stranger.requests(strangers_until_s, chance):
            clock.at(other.at_s, upstream.taken)  # type: ignore[arg-type]
    clock.run()
    return Outcome(seconds, requests, upstream, chosen)
