"""Places that calls wait for."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Final

from productsearch_service import limits
from productsearch_service.errors import ServerOverloaded

_MANY_WAIT: Final = "as many requests wait for this replica as may"


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
            raise ServerOverloaded(_MANY_WAIT, retry_after_s=limits.OVERLOAD_RETRY_S)
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
