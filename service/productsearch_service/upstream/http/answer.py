"""Reads an answer, and bounds what comes beside its body.

aiohttp bounds a line and a field. It does not bound how many informational heads come before an
answer, how long the extensions of a chunk are, and how little a chunk holds; a few MB of either
keep the event loop busy for seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp

from productsearch_service import limits
from productsearch_service.upstream.masked import MaskedBytes

_BODY_WEIGHT: Final = 2
"""For each byte of the body another one may come that frames it: chunks of five bytes do."""
_TURNS_MAX: Final = 8
"""Of the event loop without any progress of the body; its reader wakes in the first of them."""
_RETRY_AFTER_S_MAX: Final = 300.0


class Incoming(asyncio.Protocol):
    """Hands on what comes on one connection, a bounded part in a turn of the event loop.

    Heads and framing take from the room for good; who reads the body makes room again, by
    ``took``. An answer that leaves none ends its connection, and ``is_excessive`` tells why.
    """

    def __init__(self, receiver: asyncio.Protocol, connection: asyncio.Transport) -> None:
        self._receiver = receiver
        self._connection = connection
        self._held = memoryview(b"")
        self._endings: list[Callable[[], object]] = []
        """What came after the bytes that are held."""
        self._idle_turns = 0
        self._room = limits.HEADS_BYTES_MAX
        self.is_excessive = False

    def has_head(self) -> None:
        """Keep only the room that what frames a body needs."""
        self._room = min(self._room, limits.FRAMING_BYTES_MAX)

    def has_body(self) -> None:
        """Make room for the heads of the next answer."""
        self._room = limits.HEADS_BYTES_MAX

    def took(self, length: int) -> None:
        """Make room for what follows ``length`` bytes of the body that were read."""
        self._room = min(self._room + _BODY_WEIGHT * length, limits.FRAMING_BYTES_MAX)

    def data_received(self, data: bytes) -> None:
        """Hand on what there is room for, and stop reading until the rest was handed on."""
        if not self._held and len(data) <= self._portion:
            self._room -= len(data)
            self._receiver.data_received(data)
            return
        if not self._held:
            asyncio.get_running_loop().call_soon(self._hand_on)
        self._held = memoryview(bytes(self._held) + data)
        self._pause()

    def end(self) -> None:
        """End the connection now, and hand on nothing that is held."""
        self._held = memoryview(b"")
        self._connection.abort()

    def _pause(self) -> None:
        with suppress(RuntimeError):  # it is closed already
            self._connection.pause_reading()

    def eof_received(self) -> None:
        """Hand on that nothing more comes; the connection then closes itself."""
        self._after_held(self._receiver.eof_received)

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand on that the connection has ended."""
        self._after_held(lambda: self._receiver.connection_lost(exc))

    def pause_writing(self) -> None:
        """Hand on that the system takes no more at present."""
        self._receiver.pause_writing()

    def resume_writing(self) -> None:
        """Hand on that the system takes more again."""
        self._receiver.resume_writing()

    def _after_held(self, ending: Callable[[], object]) -> None:
        if self._held:
            self._endings.append(ending)
        else:
            ending()

    @property
    def _portion(self) -> int:
        """How many bytes may be handed on in this turn."""
        return min(self._room, limits.FRAMING_BYTES_MAX)

    def _hand_on(self) -> None:
        """Hand on a part of what is held, in a turn of its own."""
        portion = bytes(self._held[: self._portion])
        self._idle_turns = 0 if portion else self._idle_turns + 1
        self._room -= len(portion)
        self._held = self._held[len(portion) :]
        if portion:
            self._receiver.data_received(portion)
        if self._idle_turns > _TURNS_MAX:
            self.is_excessive = True
            self.end()
        if len(self._held) > limits.ANSWER_BYTES_MAX:
            # aiohttp resumes reading whenever its own reader was woken, which was in the turn
            # before. Up to a whole answer that is well: its end is known sooner.
            self._pause()
        if self._held:
            asyncio.get_running_loop().call_soon(self._hand_on)
            return
        for ending in self._endings:
            ending()
        with suppress(RuntimeError):
            self._connection.resume_reading()


async def read(response: aiohttp.ClientResponse, incoming: Incoming | None) -> MaskedBytes | str:
    """Return the body of an answer, however it is framed, or what was wrong with it."""
    pieces: list[bytes] = []
    length = 0
    if incoming is not None:
        incoming.has_head()
    while piece := MaskedBytes(await response.content.readany()):
        pieces.append(piece)
        length += len(piece)
        if length > limits.ANSWER_BYTES_MAX:
            if incoming is not None:
                incoming.end()
            return "answered too much"
        if response.content.at_eof():
            break
        if incoming is not None:
            incoming.took(len(piece))
    if incoming is not None:
        incoming.has_body()
    body = MaskedBytes(b"".join(pieces))
    framed = "Content-Length" in response.headers or "Transfer-Encoding" in response.headers
    if not framed and not body.rstrip().endswith(b"}"):
        # Only the end of the connection ended it: cut in the head or body, for all we know.
        return "broke off while it answered"
    return body


def retry_after_s(response: aiohttp.ClientResponse) -> float:
    """Return the seconds of ``Retry-After``, a number or a date, within reason; 0: none."""
    told = response.headers.get("Retry-After")
    if told is None:
        return 0.0
    if told.isascii() and told.isdigit():
        return min(float(told[:9]), _RETRY_AFTER_S_MAX)
    with suppress(ValueError, TypeError, OverflowError):
        wait_s = parsedate_to_datetime(told).timestamp() - time.time()
        return min(max(wait_s, 0.0), _RETRY_AFTER_S_MAX)
    return 0.0
