"""Who makes a call, and until when its answer is of use.

The interceptor makes one CallContext for each RPC and hands it down as an argument. Cancellation
is asyncio's own: the task of a call that its caller has left is cancelled. A call whose caller does
not take its answer is ended from here. Times are of the monotonic clock, so a step of the wall
clock changes no deadline.
"""

from __future__ import annotations

import asyncio
import math
import time
import weakref
from collections import Counter
from collections.abc import Awaitable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from productsearch_service import limits
from productsearch_service.errors import (
    AddOutcomeUnknown,
    DeadlineTooShort,
    Refusal,
    ServiceError,
    UpstreamUnavailable,
)
from productsearch_service.time_limit import Alarm, TimeLimit
from productsearch_service.traces import Trace

Value = TypeVar("Value")

_MARGIN_S: Final = limits.DEADLINE_SHAVE_S / 2
"""How much later the overall bound ends a call: an inner limit can report a better reason."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller: the name it proved, else the address it calls from.

    Where callers share something, a caller with a larger ``share`` has more turns.
    ``label`` is what metrics call it: the name, only if the policy lists it.
    """

    name: str
    share: int = 1
    label: str = "other"


NOBODY: Final = Caller("")
"""The caller of an RPC that was refused before its caller was known."""


@dataclass(slots=True)
class Deadline:
    """A point in time on the monotonic clock, in seconds; infinity where there is none."""

    at_s: float = math.inf

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    def remaining_s(self) -> float:
        """Return the seconds left; 0 if the deadline is past."""
        return max(0.0, self.at_s - time.monotonic())

    def capped(self, seconds: float) -> Deadline:
        """Return the earlier one of this deadline and the one ``seconds`` from now."""
        return Deadline(min(self.at_s, time.monotonic() + seconds))

    def timeout(self) -> asyncio.Timeout:
        """Return a context manager that ends what is awaited in it at the deadline."""
        return asyncio.timeout(None if self.at_s == math.inf else self.remaining_s())

    def require(self) -> float:
        """Return the seconds left; raise DeadlineTooShort if a call to the upstream needs more."""
        remaining_s = self.remaining_s()
        if remaining_s < limits.CALL_MIN_S:
            # In the caller's terms: with what was kept back for the answer.
            left_s = max(0.0, self.at_s - time.monotonic() + limits.DEADLINE_SHAVE_S)
            raise DeadlineTooShort(
                f"the deadline is {left_s * 1000:.0f} ms away, less than the "
                f"{limits.DEADLINE_MIN_S * 1000:.0f} ms that a call to the upstream needs; "
                "set a longer one"
            )
        return remaining_s


@dataclass(slots=True)
class Trail:
    """What an RPC did on its way: seconds it waited, attempts, bytes, and the upstream's last word.

    The items of a bulk stream share one: their seconds and attempts add up. ``items`` counts
    the items of a stream, or the results of a batch, by outcome and the reason of their error.
    """

    place_s: float = 0.0
    fit_s: float = 0.0
    """Bringing images inside the upstream's limits, waits for a process included."""
    quota_s: float = 0.0
    in_queue: bool = False
    """It waits for its slot in this moment."""
    token_s: float = 0.0
    retry_s: float = 0.0
    upstream_s: float = 0.0
    attempts: int = 0
    upstream_outcome: str = "-"
    """What the last request to the upstream came to, as its metric calls it."""
    upstream_code: int = 0
    log_id: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    not_sent: bool = False
    """A breaker refused the call: it says nothing new of the upstream."""
    items: Counter[tuple[str, str]] | None = None
    trace: Trace | None = None
    """None: the RPC is not recorded."""
    trace_id: str = ""
    """The trace that it belongs to, recorded or not; empty: there are no traces."""

    @property
    def waited(self) -> bool:
        """Whether it had one of the waits that calls in normal operation do not have."""
        return bool(self.place_s or self.fit_s or self.token_s or self.retry_s)

    @property
    def kept_away(self) -> bool:
        """Whether a breaker refused the call before anything of it was sent."""
        return self.not_sent and not self.attempts

    def item(self, outcome: str, reason: str = "") -> None:
        """Count an item of a stream, or a result of a batch."""
        if self.items is None:
            self.items = Counter()
        self.items[outcome, reason] += 1

    def failed_alike(self) -> str:
        """Return the most frequent reason if there are items and all failed, else nothing."""
        if not self.items or any(not reason for _, reason in self.items):
            return ""
        return self.items.most_common(1)[0][0][1]


class Adds:
    """The adds that are under way, so that the end of the replica can be told to their callers."""

    def __init__(self) -> None:
        self._limits: set[TimeLimit] = set()
        self.ending: ServiceError | None = None
        """What those are told that were ended before anything was sent."""

    def __len__(self) -> int:
        return len(self._limits)

    @contextmanager
    def under_way(self, limit: TimeLimit) -> Iterator[None]:
        """Count an add, and end it with the others."""
        self._limits.add(limit)
        try:
            yield
        finally:
            self._limits.discard(limit)

    def end_all(self, unbegun: ServiceError) -> None:
        """End all adds now: those of which nothing was sent with ``unbegun``."""
        self.ending = unbegun
        for limit in self._limits:
            limit.allow(0)


@dataclass(slots=True)
class CallContext:
    """One RPC, or one item of a bulk stream.

    ``posts_begun`` counts the requests that were sent to the upstream for it: at the deadline it
    tells whether anything was begun. ``ending`` of a stream gets the error that it has to end with
    early. ``image`` is that of a large request, if it was cut out of it, until it is taken.
    """

    caller: Caller
    deadline: Deadline
    posts_begun: int = 0
    ending: asyncio.Future[Refusal] | None = None
    trail: Trail = field(default_factory=Trail)
    image: memoryview | None = None

    def taken_image(self) -> memoryview | None:
        """Return ``image``, which from now on is held by whoever called this."""
        image, self.image = self.image, None
        return image

    @classmethod
    def begin(
        cls, caller: Caller, time_remaining_s: float | None, trail: Trail | None = None
    ) -> CallContext:
        """Return the context of a call whose caller waits that long (None: without end).

        A little time is kept back, so that the answer arrives before the caller's patience ends.
        """
        if time_remaining_s is None:
            return cls(caller, Deadline(), trail=trail or Trail())
        deadline = Deadline.after(time_remaining_s - limits.DEADLINE_SHAVE_S)
        return cls(caller, deadline, trail=trail or Trail())

    async def give_way(self) -> None:
        """Let other calls have the event loop, unless that could cost this one its answer."""
        if self.deadline.remaining_s():
            await asyncio.sleep(0)

    async def bounded(self, work: Awaitable[Value], adds: Adds | None = None) -> Value:
        """Return what ``work`` returns, or end it at the deadline; ``adds``: it is one of these.

        Raises DeadlineTooShort if no request was sent, else AddOutcomeUnknown for an add and
        UpstreamUnavailable for the rest. An add can end before, with ``adds``.
        """
        if self.deadline.at_s == math.inf and adds is None:
            return await work
        if adds is not None and adds.ending is not None:
            if isinstance(work, Coroutine):
                work.close()
            raise adds.ending
        # The margin begins when the loop notices the deadline: one that is late would run the
        # timers of both limits in one turn, and this one would hide what the other knows.
        limit = TimeLimit(self.deadline.remaining_s(), margin_s=_MARGIN_S)
        try:
            with nullcontext() if adds is None else adds.under_way(limit), limit:
                return await work
        except TimeoutError:
            if not limit.expired:
                raise
        raise self._ended(adds)

    def _ended(self, adds: Adds | None) -> ServiceError:
        if not self.posts_begun:
            early = None if adds is None else adds.ending
            return early or DeadlineTooShort(
                "the deadline ended before a call to the upstream was begun; set a longer one"
            )
        if adds is not None:
            return AddOutcomeUnknown(
                "the image may or may not have been stored; "
                "repeat the call with DUPLICATE_POLICY_KEEP"
            )
        return UpstreamUnavailable(
            "the upstream was too slow", retry_after_s=limits.UPSTREAM_RETRY_S
        )


def remember_outer_tasks() -> None:
    """Remember of each task of the running loop, from now on, which one has begun it.

    grpc.aio runs a call in two tasks and has no way to end one. The inner task has the handler and
    sends what that returns: to cancel it leaves the call, with what was not sent, for as long as
    the caller likes. The outer one has begun it; once both are cancelled nobody holds the call any
    more, and gRPC resets its stream. (Its server holds its last call until the next one comes.)
    """
    asyncio.get_running_loop().set_task_factory(cast("Any", _task))


def _task(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    task = asyncio.Task(work, loop=loop, **options)
    outer = asyncio.current_task(loop)
    if outer is not None:
        task.outer = weakref.ref(outer)  # type: ignore[attr-defined]
    return task


def this_call() -> asyncio.Task[Any]:
    """Return the task of the call that runs; it is done once the call's ending was taken."""
    task = asyncio.current_task()
    if task is None:
        raise AssertionError("calls run in tasks")
    return task


def end_call(call: asyncio.Task[Any]) -> None:
    """End a call now, with what waits to be sent; its caller is told CANCELLED."""
    for task in (_outer(call), call):
        task.cancel()


class _Unread(Alarm):
    """Ends a call whose caller does not take its ending."""

    __slots__ = ("_call",)

    def __init__(self, call: asyncio.Task[Any]) -> None:
        self._call = call

    def ring(self) -> None:
        """End the call."""
        end_call(self._call)

    def taken(self, _: object) -> None:
        """Leave it to itself."""
        self.cancel()


def end_unread(seconds: float) -> None:
    """End the call that runs unless its caller takes its ending within ``seconds``."""
    call = this_call()
    unread = _Unread(call)
    unread.set(seconds)
    _outer(call).add_done_callback(unread.taken)


def _outer(call: asyncio.Task[Any]) -> asyncio.Task[Any]:
    """Return the task that is done when gRPC has nothing of a call any more."""
    outer: asyncio.Task[Any] | None = getattr(call, "outer", lambda: None)()
    return outer or call
