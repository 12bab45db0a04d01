"""Bounds what one replica has under way, in all and for each caller.

In the order of a call's way: while its message is received (Messages, in Turns), while it is
carried out (Places), and for a bulk stream as long as it is open (Streams). Of the first and the
last nobody has all; a caller that is alone may have all places to be carried out in.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, TypeVar, cast

import grpc

from productsearch_service import limits
from productsearch_service.call_context import CallContext, Caller
from productsearch_service.errors import DeadlineTooShort, ServiceError
from productsearch_service.rpc.bystanders import Bystanders
from productsearch_service.rpc.refusals import late, overloaded, stopping, wrong_request
from productsearch_service.rpc.streams import Streams

Value = TypeVar("Value")

_WAIT_SHARE: Final = 0.5
"""Of the time for a message: how long a call waits for its turn. What a caller began and left is
gone within the time for one message."""
_BUSY: Final = "this replica receives as many requests as it may"


class Turns:
    """Places that calls wait for, first come, first served among those that may have one.

    A caller may hold no more places than it leaves free: the first one gets at most half of them,
    the next one half of the rest. ``waiting_max`` bounds those that wait in the same way.
    """

    def __init__(self, places: int, *, waiting_max: int, bytes_max: int = 0) -> None:
        self._free = places
        self._held: Counter[str] = Counter()
        self._bytes = 0
        self._bytes_max = bytes_max
        self._waiting: dict[str, deque[tuple[asyncio.Future[None], int]]] = {}
        self._room_to_wait = self._waiting_max = waiting_max

    @property
    def held(self) -> tuple[int, int]:
        """Places that are held, and the bytes that they are held for."""
        return self._held.total(), self._bytes

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return self._waiting_max - self._room_to_wait

    async def take(self, caller: str, size_bytes: int = 0) -> None:
        """Wait for a place; raise ServerOverloaded if too many do."""
        waiting = self._waiting.setdefault(caller, deque())
        if len(waiting) >= self._room_to_wait:
            if not waiting:
                del self._waiting[caller]
            raise overloaded("as many requests wait for this replica as may")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append((turn, size_bytes))
        self._room_to_wait -= 1
        self._serve()  # others may wait for what this caller does not need
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(caller, (turn, size_bytes))
                self._serve()  # a smaller one may have waited behind it
            else:
                self.give(caller, size_bytes)
            raise

    def give(self, caller: str, size_bytes: int = 0) -> None:
        """Give a place back."""
        self._free += 1
        self._bytes -= size_bytes
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]
        if self._waiting:
            self._serve()

    def take_now(self, caller: str, size_bytes: int = 0) -> bool:
        """Take a place that is free and that nobody waits for; return whether there is one."""
        return not self._waiting and self._taken(caller, size_bytes)

    def _taken(self, caller: str, size_bytes: int) -> bool:
        fits = not self._bytes_max or not self._bytes or self._bytes + size_bytes <= self._bytes_max
        if not fits or self._held[caller] >= self._free:
            return False
        self._free -= 1
        self._bytes += size_bytes
        self._held[caller] += 1
        return True

    def _serve(self) -> None:
        """Give places to whoever may have one, a caller after the other."""
        served = True
        while served:
            served = False
            for caller, waiting in list(self._waiting.items()):
                turn, size_bytes = waiting[0]
                if turn.cancelled():  # its task has not run since
                    self._forget(caller, waiting[0])
                    served = True
                elif self._taken(caller, size_bytes):
                    turn.set_result(None)
                    self._forget(caller, waiting[0])
                    served = True

    def _forget(self, caller: str, entry: tuple[asyncio.Future[None], int]) -> None:
        waiting = self._waiting.get(caller)
        if waiting is None or entry not in waiting:
            return
        waiting.remove(entry)
        self._room_to_wait += 1
        if not waiting:
            del self._waiting[caller]


class Messages:
    """The messages that are received, and the calls that wait for that."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._timers: set[asyncio.Timeout] = set()
        self._over = False

    async def receive(self, context: CallContext, grpc_context: Any, timeout_s: float) -> bytes:
        """Return the message of a unary call, received within ``timeout_s`` of its turn.

        Raises FieldInvalid if none came, ServerOverloaded if its turn did not come, and what the
        deadline or the end of the replica ask for.
        """
        caller = context.caller.name
        if not self._turns.take_now(caller):
            began_s = time.monotonic()
            try:
                await self._within(timeout_s * _WAIT_SHARE, context, self._turns.take(caller))
            except TimeoutError:
                raise self._why(context, lambda: overloaded(_BUSY)) from None
            finally:
                context.trail.place_s += time.monotonic() - began_s
        try:
            content = await self._within(timeout_s, context, grpc_context.read())
        except TimeoutError:
            raise self._why(context, lambda: late(timeout_s)) from None
        finally:
            self._turns.give(caller)
        if content is grpc.aio.EOF:
            raise wrong_request("missing; send one message with the call")
        return cast("bytes", content)

    def end_all(self) -> None:
        """End all calls whose message has not come: the replica stops."""
        self._over = True
        now_s = asyncio.get_running_loop().time()
        for timer in self._timers:
            if not timer.expired():
                timer.reschedule(now_s)

    async def _within(self, seconds: float, context: CallContext, work: Awaitable[Value]) -> Value:
        timer = asyncio.timeout(min(seconds, context.deadline.remaining_s()))
        self._timers.add(timer)
        try:
            async with timer:
                return await work
        finally:
            self._timers.discard(timer)

    def _why(self, context: CallContext, otherwise: Callable[[], ServiceError]) -> ServiceError:
        """Return why a call's time was over."""
        if self._over:
            return stopping()
        try:
            context.deadline.require()
        except DeadlineTooShort as error:
            return error
        return otherwise()


class Places:
    """Counts calls that are carried out, and the bytes of their requests.

    Who is over a limit is rejected immediately. A caller alone may hold all places; once others
    are there, it must leave them a part: ``others_share`` of the places, divided by its own share.
    """

    def __init__(self, *, calls_max: int, bytes_max: int, others_share: float) -> None:
        self._calls_max = calls_max
        self._bytes_max = bytes_max
        self._others_share = others_share
        self._calls: Counter[str] = Counter()
        self._total = 0
        self._bytes = 0

    def held(self, caller: Caller, size_bytes: int) -> _Held:
        """Hold a place for one call with a request of ``size_bytes``; raise ServerOverloaded."""
        return _Held(self, caller, size_bytes)

    @property
    def in_flight(self) -> tuple[int, int]:
        """Calls and their bytes."""
        return self._total, self._bytes

    def take(self, caller: Caller, size_bytes: int) -> None:
        """Take a place; raise ServerOverloaded."""
        full = self._full(caller, size_bytes)
        if full:
            raise overloaded(full)
        self._calls[caller.name] += 1
        self._total += 1
        self._bytes += size_bytes

    def give(self, caller: Caller, size_bytes: int) -> None:
        """Give a place back."""
        self._bytes -= size_bytes
        self._total -= 1
        self._calls[caller.name] -= 1
        if not self._calls[caller.name]:
            del self._calls[caller.name]

    def _full(self, caller: Caller, size_bytes: int) -> str:
        """Return what is full, or nothing."""
        if self._total >= self._calls_max:
            return "this replica has as many calls under way as it may"
        if self._bytes + size_bytes > self._bytes_max:
            return "this replica holds as many bytes as it may"
        own = self._calls[caller.name]
        own_max = max(1, int(self._calls_max * (1 - self._others_share / caller.share)))
        if own_max <= own < self._total:
            return "this caller has its share of this replica's calls under way"
        return ""


@dataclass(slots=True)
class _Held:
    """A place while a call is carried out; a context."""

    places: Places
    caller: Caller
    size_bytes: int

    def __enter__(self) -> None:
        self.places.take(self.caller, self.size_bytes)

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.places.give(self.caller, self.size_bytes)


class Admission:
    """The places of all kinds, until the replica is about to stop."""

    def __init__(self, *, stream_silence_s: float = limits.BULK_SILENCE_S) -> None:
        self.receiving = Turns(limits.RECEIVING_MAX, waiting_max=limits.WAITING_MAX)
        self.messages = Messages(self.receiving)
        self.unary = Places(
            calls_max=limits.RPCS_IN_FLIGHT_MAX,
            bytes_max=limits.BYTES_IN_FLIGHT_MAX,
            others_share=limits.OTHERS_SHARE,
        )
        self.streams = Streams(
            streams_max=limits.BULK_STREAMS_MAX,
            others_share=limits.OTHERS_SHARE,
            silence_s=stream_silence_s,
        )
        self.items = Turns(
            limits.BULK_ITEMS_MAX, waiting_max=limits.WAITING_MAX, bytes_max=limits.BULK_BYTES_MAX
        )
        self.bystanders = Bystanders()
        self._draining = False

    def drain(self) -> None:
        """Refuse every call from now on, and let open bulk streams end early."""
        self._draining = True
        self.streams.end_all(stopping())

    def end_silent(self) -> None:
        """End the calls whose request has not come, and those of health and reflection."""
        self.messages.end_all()
        self.bystanders.end_all()

    def check(self) -> None:
        """Raise ServerDraining if the replica is about to stop."""
        if self._draining:
            raise stopping()
