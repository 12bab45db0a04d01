"""Bounds what one replica has under way, in all and for each caller.

In the order of a call's way: while its message is received (Messages, in Turns), until its answer
was taken (Places), and for a bulk stream as long as it is open (Streams). Nobody has all of any.
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar, cast

import grpc

from productsearch_service import limits
from productsearch_service.call_context import Adds, CallContext, Caller, this_call
from productsearch_service.errors import DeadlineTooShort, ServiceError
from productsearch_service.rpc.bystanders import Bystanders
from productsearch_service.rpc.refusals import late, overloaded, stopping, wrong_request
from productsearch_service.rpc.streams import Streams
from productsearch_service.rpc.unread import Unread
from productsearch_service.time_limit import Repeated, TimeLimit
from productsearch_service.turns import Pace, Turns

Value = TypeVar("Value")

_WAIT_SHARE: Final = 0.5
"""Of the time for a message: how long a call waits for its turn. What a caller began and left is
gone within the time for one message."""
_BUSY: Final = "this replica receives as many requests as it may"
_GAVE_WAY: Final = "this message was long in coming, and another caller waited for its turn"


class Messages:
    """The messages that are received, and the calls that wait for that.

    A turn is sure for a while. Then it ends for a caller that has none and waits: of the callers
    that have the most, the oldest. So those who say nothing hold up nobody for long, however many
    callers they are, and where nobody waits a slow one has all its time.
    """

    def __init__(self, turns: Turns, pace: Pace) -> None:
        self._turns = turns
        self._pace = pace
        self._limits: set[TimeLimit] = set()
        self._over = False

    async def receive(self, context: CallContext, grpc_context: Any, timeout_s: float) -> bytes:
        """Return the message of a unary call, received within ``timeout_s`` of its turn.

        Raises FieldInvalid if none came, ServerOverloaded if its turn did not come, and what the
        deadline or the end of the replica ask for.
        """
        caller = context.caller.name
        if not self._turns.take_now(caller):
            await self._wait(caller, context, timeout_s * _WAIT_SHARE)
        receipt = _Receipt(caller, min(timeout_s, context.deadline.remaining_s()))
        try:
            content = await self._within(receipt, self._pace.read(caller, grpc_context))
        except TimeoutError:
            ended = overloaded(_GAVE_WAY) if receipt.gave_way else late(timeout_s)
            raise self._why(context, ended) from None
        finally:
            self._turns.give(caller)
        if content is grpc.aio.EOF:
            raise wrong_request("missing; send one message with the call")
        return cast("bytes", content)

    def end_all(self) -> None:
        """End all calls whose message has not come: the replica stops."""
        self._over = True
        for limit in self._limits:
            limit.allow(0)

    async def _wait(self, caller: str, context: CallContext, seconds: float) -> None:
        limit = TimeLimit(min(seconds, context.deadline.remaining_s()))
        impatience = Repeated(limits.RECEIVE_PATIENCE_S, partial(self.make_way_for, caller))
        began_s = time.monotonic()
        try:
            await self._within(limit, self._turns.take(caller))
        except TimeoutError:
            raise self._why(context, overloaded(_BUSY)) from None
        finally:
            impatience.cancel()
            context.trail.place_s += time.monotonic() - began_s

    def make_way_for(self, caller: str) -> None:
        """End the turn that was long enough, if there is one and ``caller`` has none."""
        receipts = [each for each in self._limits if isinstance(each, _Receipt)]
        if self._turns.holds(caller) or any(each.gave_way for each in receipts):
            return
        sure_s = time.monotonic() - limits.RECEIVE_SURE_S
        held = Counter(each.caller for each in receipts)
        long = [each for each in receipts if each.began_s <= sure_s]
        if long:
            longest = max(long, key=lambda each: (held[each.caller], -each.began_s))
            longest.gave_way = True
            longest.allow(0)

    async def _within(self, limit: TimeLimit, work: Awaitable[Value]) -> Value:
        self._limits.add(limit)
        try:
            with limit:
                return await work
        finally:
            self._limits.discard(limit)

    def _why(self, context: CallContext, otherwise: ServiceError) -> ServiceError:
        """Return why a call's time was over."""
        if self._over:
            return stopping()
        try:
            context.deadline.require()
        except DeadlineTooShort as error:
            return error
        return otherwise


class _Receipt(TimeLimit):
    """The time of a message that is being received."""

    __slots__ = ("began_s", "caller", "gave_way")

    def __init__(self, caller: str, seconds: float) -> None:
        super().__init__(seconds)
        self.caller = caller
        self.began_s = time.monotonic()
        self.gave_way = False


class Places:
    """Counts calls until they are answered, and the bytes of their requests.

    Who is over a limit is rejected immediately. Of calls and of bytes a caller leaves others a
    part, always: ``others_share``, divided by its own share. A caller's own calls count until their
    answers were taken: who does not read is rejected at its share, and others have the place.
    """

    def __init__(
        self, *, calls_max: int, bytes_max: int, others_share: float, of: str = "calls"
    ) -> None:
        """``of``: what is counted, for the refusals."""
        self._of = of
        self._calls_max = calls_max
        self._bytes_max = bytes_max
        self._others_share = others_share
        self._calls: defaultdict[str, int] = defaultdict(int)
        self._bytes: defaultdict[str, int] = defaultdict(int)
        self.in_flight = (0, 0)
        """Calls and their bytes."""

    def take(self, caller: Caller, size_bytes: int) -> None:
        """Take a place for a call with a request of ``size_bytes``; raise ServerOverloaded."""
        full = self._full(caller, size_bytes)
        if full:
            raise overloaded(full)
        self._calls[caller.name] += 1
        self._bytes[caller.name] += size_bytes
        self._under_way(1, size_bytes)

    def give(self, caller: Caller, size_bytes: int) -> None:
        """Give a place back."""
        self.answered(caller, size_bytes)
        self.taken(caller)

    def answered(self, caller: Caller, size_bytes: int) -> None:
        """Let others have a place whose call is answered; ``taken`` has to follow."""
        self._bytes[caller.name] -= size_bytes
        self._under_way(-1, -size_bytes)

    def taken(self, caller: Caller) -> None:
        """Let the caller itself have it: its answer was taken."""
        self._calls[caller.name] -= 1
        if not self._calls[caller.name]:
            del self._calls[caller.name], self._bytes[caller.name]

    def _under_way(self, calls: int, size_bytes: int) -> None:
        self.in_flight = (self.in_flight[0] + calls, self.in_flight[1] + size_bytes)

    @contextmanager
    def held(self, caller: Caller, size_bytes: int) -> Iterator[None]:
        """Hold a place as long as the context lasts."""
        self.take(caller, size_bytes)
        try:
            yield
        finally:
            self.give(caller, size_bytes)

    def _full(self, caller: Caller, size_bytes: int) -> str:
        """Return what is full, or nothing."""
        part = 1 - self._others_share / caller.share
        if self._calls.get(caller.name, 0) >= max(1, int(self._calls_max * part)):
            return f"this caller has its share of this replica's {self._of} under way"
        if self._bytes.get(caller.name, 0) + size_bytes > self._bytes_max * part:
            return f"this caller has its share of this replica's bytes of {self._of} under way"
        calls, taken_bytes = self.in_flight
        if calls >= self._calls_max:
            return f"this replica has as many {self._of} under way as it may"
        if taken_bytes + size_bytes > self._bytes_max:
            return f"this replica holds as many bytes of {self._of} as it may"
        return ""


class Admission:
    """The places of all kinds, until the replica is about to stop."""

    def __init__(self, *, stream_silence_s: float = limits.BULK_SILENCE_S) -> None:
        self.receiving = Turns(limits.RECEIVING_MAX, waiting_max=limits.WAITING_MAX)
        self.pace = Pace()
        self.messages = Messages(self.receiving, self.pace)
        self.unary = Places(
            calls_max=limits.RPCS_IN_FLIGHT_MAX,
            bytes_max=limits.BYTES_IN_FLIGHT_MAX,
            others_share=limits.OTHERS_SHARE,
        )
        self.unread = Unread()
        self.large = Places(
            calls_max=limits.LARGE_CALLS_MAX,
            bytes_max=limits.LARGE_BYTES_MAX,
            others_share=limits.OTHERS_SHARE,
            of="large images",
        )
        self.fit = Places(
            calls_max=limits.FIT_CALLS_MAX,
            bytes_max=limits.BYTES_IN_FLIGHT_MAX,
            others_share=limits.FIT_OTHERS_SHARE,
            of="images with fit",
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
        self.adds = Adds()
        self._draining = False
        self._cuts_off_at_s = math.inf
        self.cut_off = 0
        """Calls that the end of the replica ended before they were done."""

    def drain(self) -> None:
        """Refuse every call from now on, and let open bulk streams end early."""
        self._draining = True
        self.streams.end_all(stopping())

    def end_silent(self) -> None:
        """End the calls whose request has not come, and those of health and reflection."""
        self.messages.end_all()
        self.bystanders.end_all()

    def end_adds(self) -> bool:
        """End the adds under way in words, and begin no more; they are cut off.

        Returns whether callers have something to take: such words, or answers that are on the way.
        """
        count = len(self.adds)
        self.adds.end_all(stopping())
        self.cut_off += count
        return count > 0 or self.unread.in_flight[0] > 0

    def cut_off_after(self, seconds: float) -> None:
        """Let calls that end unfinished from then on count as cut off, by nobody else."""
        self._cuts_off_at_s = time.monotonic() + seconds

    def is_cut_off(self) -> bool:
        """Whether a call that is cancelled now is ended by us; it is counted then."""
        cut = time.monotonic() >= self._cuts_off_at_s
        self.cut_off += cut
        return cut

    def check(self) -> None:
        """Raise ServerDraining if the replica is about to stop."""
        if self._draining:
            raise stopping()


class Place:
    """The place of the unary call that runs: others' from its answer on, its caller's until that
    was taken.
    """

    __slots__ = ("_admission", "_call", "_caller", "_is_answered", "_size_bytes")

    def __init__(self, admission: Admission, caller: Caller, size_bytes: int) -> None:
        """Take it for a request of ``size_bytes``; raise ServerOverloaded."""
        admission.unary.take(caller, size_bytes)
        self._admission = admission
        self._caller = caller
        self._size_bytes = size_bytes
        self._is_answered = False
        self._call = this_call()
        self._call.add_done_callback(self._over)

    def answered(self, size_bytes: int) -> None:
        """Let others have it: the work is done, and an answer of ``size_bytes`` is on its way."""
        self._is_answered = True
        self._admission.unary.answered(self._caller, self._size_bytes)
        self._admission.unread.add(self._call, self._caller.name, size_bytes)

    def _over(self, _: object) -> None:
        if not self._is_answered:
            self._admission.unary.answered(self._caller, self._size_bytes)
        self._admission.unread.remove(self._call)
        self._admission.unary.taken(self._caller)
