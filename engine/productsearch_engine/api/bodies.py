"""Reads request bodies within limits of size, time and total memory.

A body is read only after its size has been reserved in an ``Allowance``. Until then it waits
unread in its socket, so many large bodies cannot fill the memory. Does not know forms.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from productsearch_engine.api import codes
from productsearch_engine.api.codes import ApiError
from productsearch_engine.limits import BODY_READ_S


class Allowance:
    """A number of bytes that may be held at the same time, granted in FIFO order."""

    def __init__(self, size: int):
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def granted(self, size: int) -> AsyncIterator[None]:
        """Wait for ``size`` bytes and hold them."""
        if self._waiting or size > self._free:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((size, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._release(size)
                raise
        else:
            self._free -= size
        try:
            yield
        finally:
            self._release(size)

    def _release(self, size: int) -> None:
        self._free += size
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= self._free):
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= wanted
                turn.set_result(None)


def announced(request: Request, most: int) -> int:
    """Return the announced length, at most ``most``; ``most`` if no length is announced."""
    length = request.headers.get("content-length", "")
    return min(int(length), most) if length.isdecimal() and len(length) < 16 else most


async def read(request: Request, most: int) -> bytes:
    """Return the body.

    Raises ApiError 216202 if it is longer than ``most`` bytes, 2 if it does not arrive in time.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 15 or int(length) > most):
        raise ApiError(codes.IMAGE_SIZE)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_READ_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    raise ApiError(codes.IMAGE_SIZE)
                chunks.append(chunk)
    except TimeoutError:
        raise ApiError(codes.UNAVAILABLE) from None
    return b"".join(chunks)
