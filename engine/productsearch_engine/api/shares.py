"""Shares what is scarce among apps: memory for bodies, places for downloads.

Whoever holds much waits before somebody who holds little, and a part is always left for an app
that comes new: whatever one app does, it does not hold up another. Knows keys and amounts. Does
not know what they stand for.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque

_Turn = tuple[int, asyncio.Future[None]]


class Shares:
    """A number of units that may be held at the same time, shared among keys.

    With ``n`` keys that hold or wait, a key holds at most one part of ``n + 1``, or one request
    of any size, and the last eighth is for keys that hold nothing. Requests of one key are granted
    in the order they came; of several keys that wait, the one that holds least is next. Used from
    one event loop.
    """

    def __init__(self, size: int):
        self._size = size
        self._free = size
        self._held: Counter[int] = Counter()
        self._waiting: dict[int, deque[_Turn]] = {}

    async def acquire(self, key: int, size: int) -> None:
        """Wait for ``size`` units, at most all of them; ``release`` gives them back."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append((size, turn))
        self._grant()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(key, size)
            else:
                self._grant()  # others may have waited behind this one
            raise

    def release(self, key: int, size: int) -> None:
        """Give back units that were acquired."""
        self._free += size
        self._held[key] -= size
        if not self._held[key]:
            del self._held[key]
        self._grant()

    def _grant(self) -> None:
        while (key := self._next()) is not None:
            size, turn = self._waiting[key][0]
            if size > self._free:
                return  # it is not overtaken: smaller ones would keep it waiting for ever
            self._waiting[key].popleft()
            self._free -= size
            self._held[key] += size
            turn.set_result(None)

    def _next(self) -> int | None:
        """Return the key whose first request is next, None if none may be granted."""
        for key, turns in [*self._waiting.items()]:
            while turns and turns[0][1].done():  # cancelled
                turns.popleft()
            if not turns:
                del self._waiting[key]
        share = self._size // (len(self._held.keys() | self._waiting.keys()) + 1)
        room = self._free - self._size // 8
        admitted = [
            key
            for key, turns in self._waiting.items()
            if key not in self._held
            or (self._held[key] + turns[0][0] <= share and turns[0][0] <= room)
        ]
        return min(admitted, key=lambda key: self._held[key], default=None)
