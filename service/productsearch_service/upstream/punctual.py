"""HTTP connections whose answers end at a deadline, however slowly their bytes come.

A socket's timeout starts anew with each byte, so an upstream that drips its head holds a call
for hours. Here each read of an answer, head or body, waits only for what is left of the deadline
that the calling thread has set.
"""

from __future__ import annotations

import http.client
import io
import threading
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from urllib3.connection import HTTPConnection, HTTPSConnection

from productsearch_service.upstream import heads

if TYPE_CHECKING:
    import socket

    from productsearch_service.deadline import Deadline

_LEAST_S: Final = 0.001

_thread = threading.local()


def until(deadline: Deadline) -> None:
    """Let the reads of this thread's next answer end at ``deadline``."""
    _thread.deadline = deadline
    _thread.answer_began = False


def answer_began() -> bool:
    """Return whether a byte of this thread's answer has come since ``until``."""
    return bool(_thread.answer_began)


class _PunctualReads(io.RawIOBase):
    """A socket's stream of bytes; raises TimeoutError once the deadline is past."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining_s = _thread.deadline.remaining_s()
        if remaining_s < _LEAST_S:
            raise TimeoutError("the deadline is past")
        self._sock.settimeout(remaining_s)
        count = self._raw.readinto(buffer)
        if count:
            _thread.answer_began = True
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Source:
    """What an answer takes its stream from."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, mode: Literal["rb"]) -> io.BufferedReader:
        """Return the stream of the socket."""
        raw = self._sock.makefile(mode, buffering=0)
        return io.BufferedReader(_PunctualReads(raw, self._sock))


class _PunctualResponse(http.client.HTTPResponse):
    fp: io.BufferedReader

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(cast("socket.socket", _Source(sock)), *args, **options)

    def begin(self) -> None:
        """Read the head: a plain one in one step, any other as the base class does."""
        head = heads.read(self.fp.peek())
        if head is None:
            super().begin()
            return
        self.fp.read(head.head_bytes)
        self.code = self.status = head.status
        self.reason = head.reason
        self.version = 11
        self.headers = self.msg = head.headers
        self.chunked = self.will_close = False
        self.length = head.body_bytes


class Connection(HTTPConnection):
    """A plain connection with punctual answers."""

    response_class = _PunctualResponse


class TlsConnection(HTTPSConnection):
    """A TLS connection with punctual answers."""

    response_class = _PunctualResponse
