"""Reads request bodies within limits of size and time.

A body has to arrive: it may not stand still, and it may not trickle. How much memory bodies may
take together is decided before one is read (``api.shares``); until then a body waits unread in
its socket. Does not know forms.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from starlette.requests import Request

from productsearch_engine.api import codes
from productsearch_engine.api.codes import ApiError
from productsearch_engine.limits import (
    BODY_BYTES_PER_S_MIN,
    BODY_GRACE_S,
    BODY_READ_S,
    BODY_STALL_S,
)


def announced(request: Request, most: int) -> int:
    """Return the announced length, at most ``most``; ``most`` if no length is announced."""
    length = _length(request)
    return most if length is None else min(length, most)


async def read(request: Request, most: int) -> bytes:
    """Return the body.

    Raises ApiError 216202 if it is longer than ``most`` bytes, 2 if it does not arrive in time.
    """
    return b"".join([piece async for piece in pieces(request, most)])


async def pieces(request: Request, most: int) -> AsyncIterator[bytes]:
    """Yield the body as it comes. Raises what ``read`` does."""
    if (_length(request) or 0) > most:
        raise ApiError(codes.IMAGE_SIZE)
    size = 0
    began_s = time.monotonic()
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(_left_s(began_s, size)):
                piece = await anext(stream, None)
        except TimeoutError:
            raise ApiError(codes.UNAVAILABLE) from None
        if piece is None:
            return
        size += len(piece)
        if size > most:
            raise ApiError(codes.IMAGE_SIZE)
        yield piece


def _length(request: Request) -> int | None:
    """Return the announced length, None if no length is announced.

    It has any number of digits, of which the parser of requests lets 64 bits pass: zeros before it
    may be more.
    """
    digits = request.headers.get("content-length", "")
    return int(digits.lstrip("0")[:20] or "0") if digits.isdecimal() else None


def _left_s(began_s: float, size: int) -> float:
    """Return how long the next piece may take when ``size`` bytes have come."""
    at_least = BODY_GRACE_S + size / BODY_BYTES_PER_S_MIN
    return min(BODY_STALL_S, began_s + min(at_least, BODY_READ_S) - time.monotonic())
