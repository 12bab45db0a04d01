"""Connections of clients, each bounded in time and in bytes, all of them in number.

uvicorn reads HTTP and runs the application. What it leaves open is bounded here: how long and
how large the head of a request may be, what else but a body may come, how many requests may
wait on a connection, how long an answer may stay unread. Knows HTTP/1.1. Does not know the
application.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
import time
from contextlib import suppress
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from productsearch_engine.limits import (
    DISCARD_S,
    GONE_AGAIN_S,
    GONE_AGAIN_S_MAX,
    HEAD_BYTES_MAX,
    HEAD_S,
    HEADERS_MAX,
    KEEP_ALIVE_S,
    OVERHEAD_MAX,
    PIECE_BYTES_MIN,
    PIECES_MAX,
    PIPELINED_MAX,
    REQUEST_ON_ITS_WAY_S,
    UNREAD_AGAIN_S,
    WRITE_STALL_S,
)
from productsearch_engine.server import half_closed
from productsearch_engine.server.expectation import Closing, client_sends, client_waits
from productsearch_engine.server.request_parser import RequestParser


class Connections:
    """The open connections of one listener; used from the event loop only."""

    def __init__(self, most: int):
        self._most = most
        self._open: set[Connection] = set()

    def add(self, connection: Connection) -> None:
        """Count a connection that was opened."""
        self._open.add(connection)

    def remove(self, connection: Connection) -> None:
        """Count it no more."""
        self._open.discard(connection)

    @property
    def are_full(self) -> bool:
        """Whether there is no place for one more."""
        return len(self._open) >= self._most

    def close_one(self) -> bool:
        """Close the connection that nobody needs for the longest time; return if there was one.

        Nobody needs one that waits for a request, or whose request has not come yet.
        """
        now = time.monotonic()
        idle = [connection for connection in self._open if connection.is_spare(now)]
        if not idle:
            return False
        min(idle, key=lambda connection: connection.since_s).cut()
        return True

    def close_overdue(self) -> None:
        """Close each connection that has overstepped a limit of time."""
        now = time.monotonic()
        for connection in [*self._open]:
            if connection.is_overdue(now):
                connection.cut()


class Connection(HttpToolsProtocol):
    """One client's connection."""

    def __init__(self, connections: Connections, **parts: Any):
        super().__init__(**parts)
        self.parser: RequestParser = RequestParser(self)
        self.app = Closing(self.app)
        self._connections = connections
        self._answered: RequestResponseCycle | None = None
        self._in_message = False
        self._in_head = True
        self._began_now = False
        self._headers = 0
        self._wire_bytes = 0
        self._body_bytes = 0
        self._pieces = 0
        self._unread_since_s: float | None = None
        self._heard_s = 0.0
        self.since_s = time.monotonic()
        """When it was opened, when its last answer was sent, or when its head began."""

    def is_spare(self, now: float) -> bool:
        """Return whether nobody would miss it: no request is worked on, nor begun just now."""
        if self.cycle is not None and not self.cycle.response_complete:
            # In the body of its only request, of which nothing has come for a moment.
            in_body = self._in_message and not self._in_head and not self.pipeline
            return in_body and now - self._heard_s > 1
        # Who has its answer and still sends its request, or sends a head, has a moment for that.
        return not self._in_message or now - self.since_s > 1

    def is_overdue(self, now: float) -> bool:
        """Return whether it has overstepped a limit of time."""
        if self._unread_since_s is not None:
            return now - self._unread_since_s > WRITE_STALL_S
        waited_s = now - self.since_s
        if self.cycle is None or (self._in_message and self._in_head):
            return waited_s > HEAD_S
        if not self.cycle.response_complete:
            return False  # the application's work has limits of its own
        return waited_s > (DISCARD_S if self._in_message else KEEP_ALIVE_S + HEAD_S)

    def cut(self) -> None:
        """Close it without waiting for what is still to be sent."""
        self._tell_application()
        self.transport.abort()

    def shutdown(self) -> None:
        """Close it after the answer that is under way; if there is none, when all was read.

        A request may have come that the event loop has not read: it is told of signals first. One
        may also be on its way. The rest of a body whose answer was sent is not waited for.
        """
        is_idle = self.cycle is None or self.cycle.response_complete
        in_body = self._in_message and not self._in_head
        is_fresh = time.monotonic() - self.since_s < REQUEST_ON_ITS_WAY_S
        if is_idle and not in_body and (is_fresh or self._unread_bytes()):
            self.loop.call_later(UNREAD_AGAIN_S, self.shutdown)
        else:
            super().shutdown()

    def _unread_bytes(self) -> int:
        """Return how many bytes have come that were not read."""
        # A socket that has closed meanwhile has no descriptor.
        with suppress(OSError, ValueError, AttributeError):
            channel = self.transport.get_extra_info("socket").fileno()
            told = fcntl.ioctl(channel, termios.FIONREAD, bytes(4))
            return int(struct.unpack("i", told)[0])
        return 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection."""
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._connections.remove(self)
        self._tell_application()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Return whether the connection is kept: its client sends no more, but may read.

        It is for requests that have come as a whole and are not answered. The last one ends it.
        """
        last = self.cycle
        if last is None or last.response_complete or self._in_message:
            return False
        if not half_closed.may_be_answered(self._fields()):
            return False
        last.keep_alive = False
        self._look_who_is_there(0)
        return True

    def _look_who_is_there(self, looks: int) -> None:
        """Cut the connection if the client has left; else look again, until it is answered."""
        if self.transport.is_closing():
            return
        if looks and half_closed.has_left(self.transport):
            self.cut()
            return
        if self._answered is not None and not self._answered.response_started:
            half_closed.ask(self.transport, self._fields(), looks)
        wait_s = min(GONE_AGAIN_S * 2**looks, GONE_AGAIN_S_MAX)
        self.loop.call_later(wait_s, self._look_who_is_there, looks + 1)

    def _tell_application(self) -> None:
        """Let what is at work on a request know that nobody is there any more.

        uvicorn knows the last request of the connection. With several, an earlier one is answered.
        """
        self.pipeline.clear()
        if self._answered is not None:
            self._answered.disconnected = True
            self._answered.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Parse what has come, unless there is too much of what is no body."""
        if self.transport.is_closing():
            return
        self._began_now = False
        self._heard_s = time.monotonic()
        super().data_received(data)
        # What came together with the beginning of a message is not counted: it is one read.
        if self._in_message and not self._began_now:
            self._wire_bytes += len(data)
            overhead = self._wire_bytes - (1 + OVERHEAD_MAX) * self._body_bytes
            pieces = self._pieces - self._body_bytes // PIECE_BYTES_MIN
            if overhead > HEAD_BYTES_MAX or pieces > PIECES_MAX:
                self.cut()

    def on_message_begin(self) -> None:
        """Begin to count for a request."""
        self._in_message = self._in_head = self._began_now = True
        self._headers = self._wire_bytes = self._body_bytes = self._pieces = 0
        self.since_s = time.monotonic()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, unless there are too many."""
        self._headers += 1
        if self._headers > HEADERS_MAX:
            self.cut()
        else:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start to answer the request, unless too many wait on this connection."""
        if self.parser.is_offer:
            return
        self._in_head = False
        if self.transport.is_closing() or len(self.pipeline) >= PIPELINED_MAX:
            self.cut()
            return
        if self.expect_100_continue:
            client_waits(self._fields())
        super().on_headers_complete()
        if not self.pipeline:
            self._answered = self.cycle

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._body_bytes += len(body)
        self._pieces += 1
        client_sends(self._fields())
        if self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        if self.parser.is_offer:
            return
        self._in_message = False
        client_sends(self._fields())
        if self.cycle is not None:
            super().on_message_complete()

    def _fields(self) -> dict[str, Any]:
        """Return the scope of the request that comes, as its application is given it."""
        return cast("dict[str, Any]", self.scope)

    def on_response_complete(self) -> None:
        """Note that an answer was sent."""
        self.since_s = time.monotonic()
        self._answered = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Note that the client does not read."""
        self._unread_since_s = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the client reads."""
        self._unread_since_s = None
        super().resume_writing()
