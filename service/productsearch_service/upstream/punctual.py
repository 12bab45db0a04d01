"""HTTP connections whose answers end at a deadline, however slowly their bytes come.

A socket's timeout starts anew with each byte, so an upstream that drips its head holds a call
for hours. Here each read of an answer, head or body, waits only for what is left of the deadline
that the calling thread has set.
"""

from __future__ import annotations

import http.client
import inspect
import io
import threading
from typing import TYPE_CHECKING, Any, Final

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

if TYPE_CHECKING:
    import socket

    from productsearch_service.deadline import Deadline

_LEAST_S: Final = 0.001

_thread = threading.local()


def until(deadline: Deadline) -> None:
    """Let the reads of this thread end at ``deadline`` from now on."""
    _thread.deadline = deadline


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
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PunctualResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        raw = self.fp.detach()  # the stream of the socket
        self.fp = io.BufferedReader(_PunctualReads(raw, sock))


class _Connection(HTTPConnection):
    response_class = _PunctualResponse


class _TlsConnection(HTTPSConnection):
    response_class = _PunctualResponse


# Tracing libraries wrap this method, and export the URL of each call with the token in it. Ours
# is the one beneath their wrapper, whether they put it there before or after our import.
_urlopen: Final = inspect.unwrap(HTTPConnectionPool.urlopen)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection
    urlopen = _urlopen


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection
    urlopen = _urlopen


POOLS: Final = {"http": _Pool, "https": _TlsPool}
"""Pool classes by scheme, for a urllib3 PoolManager."""
