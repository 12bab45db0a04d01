"""A line to the fake upstream that is slow, stands still, or leads nowhere, over real TCP."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

_TICK_S = 0.005
_BUFFER_BYTES = 16 * 1024
"""Small, so that the sender notices how slow the line is."""


class Line:
    """Passes connections on to the server of ``url``; a context manager.

    ``bytes_per_s`` bounds what goes towards the server. ``stops_after`` is how many bytes of a
    connection pass until the line stands still. ``ends_after_answer`` ends the line once the next
    answer has passed: then connections are refused.
    """

    def __init__(self, url: str) -> None:
        self._server = (urlsplit(url).hostname, urlsplit(url).port)
        self.bytes_per_s: float | None = None
        self.stops_after: int | None = None
        self.ends_after_answer = False
        self._ended = threading.Event()
        self._goes_on = threading.Event()
        self._open: set[socket.socket] = set()
        self._queue: list[socket.socket] = []
        self._listener = self._listen(("127.0.0.1", 0), 64)
        self._port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Line:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.end()
        for waiting in self._queue:
            waiting.close()

    def go_on(self) -> None:
        """Let what stands still go on."""
        self._goes_on.set()

    def end(self) -> None:
        """Close all connections for good, also those that stand still."""
        self._ended.set()
        self.refuse()
        self.go_on()

    def refuse(self) -> None:
        """Close all connections, and refuse new ones."""
        self._refuse_new()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _refuse_new(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def connect_no_more(self) -> None:
        """Close all connections, and let new ones wait: their handshake is never finished."""
        self.refuse()
        self._listener = self._listen(("127.0.0.1", self._port), 0)
        for _ in range(4):  # fills the queue of connections that nobody accepts
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", self._port))
            self._queue.append(waiting)

    @staticmethod
    def _listen(address: tuple[str, int], backlog: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        listener.bind(address)
        listener.listen(backlog)
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client = listener.accept()[0]
                server = socket.create_connection(self._server)
                self._open |= {client, server}
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for work, ends in ((self._forth, (client, server)), (self._back, (server, client))):
                    threading.Thread(target=work, args=ends, daemon=True).start()

    def _forth(self, client: socket.socket, server: socket.socket) -> None:
        passed = 0
        with suppress(OSError):
            while True:
                rate = self.bytes_per_s
                piece = client.recv(int(rate * _TICK_S) if rate else _BUFFER_BYTES)
                if not piece:
                    break
                server.sendall(piece)
                passed += len(piece)
                if rate:
                    time.sleep(_TICK_S)
                if self.stops_after is not None and passed >= self.stops_after:
                    self._goes_on.wait(30)
        self._close(client, server)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while answer := server.recv(65_536):
                last = self.ends_after_answer and answer.endswith(b"}")
                if last:  # before the answer: whoever gets it finds nobody to connect to
                    self._refuse_new()
                client.sendall(answer)
                if last:
                    self.refuse()
        self._close(client, server)

    def _close(self, *connections: socket.socket) -> None:
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            self._open.discard(connection)
            connection.close()
