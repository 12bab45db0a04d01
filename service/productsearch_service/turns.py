"""Places that callers share: nobody has all of them, and who waits is served in turn.

The event loop is shared in the same way, for steps of work that nothing can cut (Pace).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar, cast

from productsearch_service import limits
from productsearch_service.errors import ServerOverloaded

Value = TypeVar("Value")

_LARGE_FOR_S: Final = 10.0
_CALLERS_MAX: Final = 1024
_CANCELLED_WITHIN_S: Final = 0.002
"""gRPC cancels the task of a call so long after its read has ended."""
_ENDED_WITHIN_S: Final = 0.25
"""And ends the read of a call that was cancelled so long after its task."""


class Turns:
    """Places that calls wait for, and the bytes that they are held for.

    A caller may hold no more places and no more bytes than it leaves free: the first one gets at
    most half of them, the next one half of the rest. Whoever holds none may have all bytes that are
    free, and if nothing is held as many as it needs. Callers are served one after the other; one
    that is next and holds nothing is not overtaken. ``waiting_max`` bounds those that wait in the
    same way as places.
    """

    def __init__(self, places: int, *, waiting_max: int, bytes_max: float = math.inf) -> None:
        self._free = places
        self._free_bytes = bytes_max
        self._held: dict[str, int] = {}
        self._held_bytes: dict[str, int] = {}
        self._waiting: dict[str, deque[tuple[asyncio.Future[None], int]]] = {}
        self._room_to_wait = self._waiting_max = waiting_max

    @property
    def held(self) -> tuple[int, int]:
        """Places that are held, and the bytes that they are held for."""
        return sum(self._held.values()), sum(self._held_bytes.values())

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return self._waiting_max - self._room_to_wait

    def holds(self, caller: str) -> bool:
        """Return whether a caller has a place."""
        return caller in self._held

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Hold a place, waiting for it; raise ServerOverloaded if too many do."""
        await self.take(caller)
        try:
            yield
        finally:
            self.give(caller)

    async def take(self, caller: str, size_bytes: int = 0) -> None:
        """Wait for a place; raise ServerOverloaded if too many do."""
        waiting = self._waiting.setdefault(caller, deque())
        if len(waiting) >= self._room_to_wait:
            if not waiting:
                del self._waiting[caller]
            raise ServerOverloaded(
                "as many requests wait for this replica as may",
                retry_after_s=limits.OVERLOAD_RETRY_S,
            )
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
        self._free_bytes += size_bytes
        self._held[caller] -= 1
        self._held_bytes[caller] -= size_bytes
        if not self._held[caller]:
            del self._held[caller], self._held_bytes[caller]
        if self._waiting:
            self._serve()

    def take_now(self, caller: str, size_bytes: int = 0) -> bool:
        """Take a place that is free and that nobody waits for; return whether there is one."""
        return not self._waiting and self._taken(caller, size_bytes)

    def _taken(self, caller: str, size_bytes: int) -> bool:
        left = self._free_bytes - size_bytes
        held, held_bytes = self._held.get(caller, 0), self._held_bytes.get(caller, 0)
        if held:
            may = held_bytes + size_bytes <= left and held < self._free
        else:
            may = self._free > 0 and (left >= 0 or not self._held)
        if may:
            self._free -= 1
            self._free_bytes = left
            self._held[caller] = held + 1
            self._held_bytes[caller] = held_bytes + size_bytes
        return may

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
                    if waiting:  # the others come first now
                        self._waiting[caller] = self._waiting.pop(caller)
                    served = True
                elif caller not in self._held:
                    return  # what is free next is for it

    def _forget(self, caller: str, entry: tuple[asyncio.Future[None], int]) -> None:
        waiting = self._waiting.get(caller)
        if waiting is None or entry not in waiting:
            return
        waiting.remove(entry)
        self._room_to_wait += 1
        if not waiting:
            del self._waiting[caller]


class Pace:
    """Steps of work on large messages: one at a time, of each caller in turn, with rests between.

    gRPC puts a message together in the step of its ``read()`` that returns it: a copy of up to 21
    MiB, under the GIL. Decoding copies it again, and so does taking the image out. Nothing can cut
    such a step, so others wait for one; they do not wait for several in a row.

    After a turn of the event loop with such a step the loop is left to others for ``PACE_REST``
    times as long. How large a message is shows only when it is put together. So the first one of a
    caller is not waited for, and what the same caller sends soon after it is.
    """

    def __init__(self) -> None:
        self._turns = Turns(1, waiting_max=limits.WAITING_MAX)
        self._large_at_s: dict[str, float] = {}
        """When the last large message of a caller came; the oldest first."""

    async def turn(self, caller: str) -> None:
        """Wait until the caller's next step of work is due; it has to follow without an await."""
        if not self._turns.take_now(caller):
            await self._turns.take(caller)
        asyncio.get_running_loop().call_soon(self._rest, caller, time.monotonic())

    async def read(self, caller: str, grpc_context: Any) -> Any:
        """Return the next message of a call, or gRPC's EOF, put together in its turn."""

        def due() -> Awaitable[None] | None:
            at_s = self._large_at_s.get(caller)
            is_large = at_s is not None and time.monotonic() - at_s < _LARGE_FOR_S
            return self.turn(caller) if is_large else None

        async def noted() -> Any:  # also if whoever waited for it has gone
            content = await grpc_context.read()
            if len(content) > limits.PACED_BYTES:
                self._large_came(caller)
            return content

        return await message(noted(), due)

    async def next_step(self, caller: str, size_bytes: int) -> None:
        """Wait until the next step of work on a message of this size is due."""
        if size_bytes > limits.PACED_BYTES:
            await self.turn(caller)

    def _large_came(self, caller: str) -> None:
        self._large_at_s.pop(caller, None)
        self._large_at_s[caller] = time.monotonic()
        if len(self._large_at_s) > _CALLERS_MAX:
            del self._large_at_s[next(iter(self._large_at_s))]

    def _rest(self, caller: str, began_s: float) -> None:
        """Give the turn back after the rest that its step of work asks for."""
        took_s = time.monotonic() - began_s
        rest_s = min(limits.PACE_REST * took_s, limits.PACE_REST_S_MAX)
        asyncio.get_running_loop().call_later(rest_s, self._turns.give, caller)


async def message(
    read: Coroutine[Any, Any, Any], turn: Callable[[], Awaitable[None] | None] = lambda: None
) -> Any:
    """Return what gRPC's ``read`` brings, put together after its ``turn``: a message, or EOF.

    gRPC says EOF of a call that was cancelled, too, and cancels its task afterwards. What is sent
    in between is never freed (grpc/grpc#43360), so that is waited for.
    """
    content = await InTurn(read, turn)
    if not content:
        await asyncio.sleep(_CANCELLED_WITHIN_S)
    return content


class InTurn(Awaitable[Value]):
    """Awaits ``work``; whenever what it waits for has come, ``turn`` comes before its next step.

    Only the work's next step frees what gRPC holds for it. So whoever waits for the work may be
    cancelled, and the steps are done for nobody, without turns: gRPC ends the read of a call that
    its caller has cancelled. Where the call is ended by us it does not, and resets no stream whose
    read waits: that one is cancelled. A wait for the turn that is refused ends this once the step
    is done.
    """

    def __init__(
        self, work: Coroutine[Any, Any, Value], turn: Callable[[], Awaitable[None] | None]
    ) -> None:
        self._work = work
        self._turn = turn

    def __await__(self) -> Generator[Any, Any, Value]:
        """Run the steps, as ``await`` does."""
        refused: BaseException | None = None
        while True:
            try:
                waits_for: asyncio.Future[Any] = self._work.send(None)
            except StopIteration as end:
                if refused is not None:
                    raise refused from None
                return cast("Value", end.value)
            try:
                yield from asyncio.shield(waits_for).__await__()
            except asyncio.CancelledError as error:
                if not waits_for.done():
                    self._leave(waits_for)
                    raise
                refused = error
            except Exception:  # noqa: BLE001, S110 - the work gets it from its own future
                pass
            turn = self._turn() if refused is None else None
            if turn is not None:
                try:
                    yield from turn.__await__()
                except (asyncio.CancelledError, ServerOverloaded) as error:
                    refused = error

    def _leave(self, waits_for: asyncio.Future[Any]) -> None:
        waits_for.add_done_callback(self._step_for_nobody)
        asyncio.get_running_loop().call_later(_ENDED_WITHIN_S, waits_for.cancel)

    def _step_for_nobody(self, _: object) -> None:
        try:
            waits_for = self._work.send(None)
        except (StopIteration, Exception, asyncio.CancelledError):  # noqa: BLE001 - nobody asks
            return
        self._leave(waits_for)
