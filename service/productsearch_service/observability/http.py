"""The HTTP port: /metrics for Prometheus, /livez and /readyz for who probes by HTTP.

Each connection has a thread, so that answers come while the event loop is busy. It tells no
secrets and no caller's text; still it is for the pod and its node, not for the network.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import sys
import threading
import time
from http import HTTPStatus
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from productsearch_service import limits
from productsearch_service.observability.liveness import Liveness
from productsearch_service.observability.readiness import Readiness
from productsearch_service.settings_values import host_and_port

_LOOK_S: Final = 0.05
"""Between two looks whether the port is to be closed; a stop waits for one."""
_RESERVE: Final = 4
"""Descriptors kept for probes; a scrape reads files of /proc."""
_NONE_LEFT: Final = (errno.EMFILE, errno.ENFILE)
_log = logging.getLogger(__name__)


class _Reserve:
    """Descriptors that are held for when the process, or the machine, has none left."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: list[int] = []
        self._lock = threading.Lock()
        self.fill()

    def fill(self) -> None:
        """Open descriptors until the reserve is full again, or none is left."""
        with self._lock, contextlib.suppress(OSError):
            while len(self._held) < self._size:
                self._held.append(os.open(os.devnull, os.O_RDONLY))

    def give(self, count: int) -> None:
        """Free that many descriptors, or as many as are held."""
        with self._lock:
            for _ in range(min(count, len(self._held))):
                os.close(self._held.pop())

    def close(self) -> None:
        """Give all descriptors back, for good."""
        count, self._size = self._size, 0
        self.give(count)


class MetricsServer(ThreadingHTTPServer):
    """Serves a registry and the probes; raises OSError if its port cannot be opened.

    Connections are bounded: one too many closes the oldest, so clients that never finish a request
    keep nobody out. It is accepted once the thread of that one has ended; one that is at work does
    not, and there are at most twice as many threads. A process without descriptors answers too, by
    those of a reserve: it is alive, and a restart would not end what takes them.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, address: str, registry: CollectorRegistry, liveness: Liveness, readiness: Readiness
    ) -> None:
        self.registry = registry
        self.liveness = liveness
        self.readiness = readiness
        self._open: dict[socket.socket, None] = {}
        self._ended: set[socket.socket] = set()
        """Of the open ones those that were closed here, and whose thread has not ended yet."""
        self._changes = threading.Condition()
        self.scrapes = threading.Lock()
        """Held while a scrape is made, not while it is sent."""
        host, port = host_and_port(address)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._reserve = _Reserve(_RESERVE)
        super().__init__((host, port), _Handler)

    def start(self) -> None:
        """Begin to serve, in threads of its own."""
        threading.Thread(
            target=self.serve_forever, args=(_LOOK_S,), name="metrics", daemon=True
        ).start()

    def stop(self) -> None:
        """Close the port; what is being answered goes on."""
        self.shutdown()
        self.server_close()

    def server_close(self) -> None:
        """Close the port, and give the reserve back."""
        super().server_close()
        self._reserve.close()

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection, if need be with a descriptor of the reserve."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno not in _NONE_LEFT:
                raise
        self._reserve.give(1)
        try:
            return super().get_request()
        except OSError:
            self._end_oldest()  # its descriptor is free soon
            time.sleep(_LOOK_S)  # who waits to be accepted is there again at once
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread, and close the oldest one if there are too many."""
        most = limits.ADMIN_CONNECTIONS_MAX
        if len(self._open) - len(self._ended) >= most:
            self._end_oldest()
        with self._changes:
            self._changes.wait_for(lambda: len(self._open) < most, _LOOK_S)
            is_full = len(self._open) >= 2 * most
            if not is_full:
                self._open[request] = None
        if is_full:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def _end_oldest(self) -> None:
        with self._changes:
            oldest = next((each for each in self._open if each not in self._ended), None)
            if oldest is None:
                return
            self._ended.add(oldest)
            with contextlib.suppress(OSError):  # it ends at this moment by itself
                oldest.shutdown(socket.SHUT_RDWR)

    def has_ended(self, request: Any) -> bool:
        """Whether a connection was closed here: what came of its request is not carried out."""
        return request in self._ended

    def shutdown_request(self, request: Any) -> None:
        with self._changes:
            self._open.pop(request, None)
            self._ended.discard(request)
            self._changes.notify_all()
        super().shutdown_request(request)
        self._reserve.fill()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Log what is not a client that has left."""
        if not isinstance(sys.exception(), OSError | HTTPException):
            _log.exception("answering a probe or a scrape failed in an unforeseen way")


class _Head:
    """The head of one request, of which not more than its bound is read."""

    def __init__(self, file: BufferedIOBase) -> None:
        self._file = file
        self._left = limits.ADMIN_HEAD_BYTES_MAX

    def readline(self, size: int) -> bytes:
        """Return the next line; raise HTTPException, which is answered 431, past the bound."""
        line = self._file.readline(min(size, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise HTTPException("the head is too long")
        return line

    def close(self) -> None:
        """Close what it reads from."""
        self._file.close()


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer
    timeout = limits.ADMIN_TIMEOUT_S
    wbufsize = -1  # headers and body leave in one piece

    def setup(self) -> None:
        """Bound the head; a connection has one request."""
        super().setup()
        self.rfile = _Head(self.rfile)  # type: ignore[assignment] # lines are all that is read

    def do_GET(self) -> None:
        """Answer one of the three paths."""
        if self.server.has_ended(self.connection):
            return
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._scrape()
        elif path == "/livez":
            reason = "" if self.server.liveness.alive else "the event loop stands still"
            self._probe(reason, "alive")
        elif path == "/readyz":
            late = "" if self.server.liveness.in_time else "the event loop stands still"
            self._probe(late or self.server.readiness.not_ready_reason, "ready")
        else:
            self._send(HTTPStatus.NOT_FOUND, b"one of /metrics, /livez, /readyz\n")

    def _scrape(self) -> None:
        """Answer one scrape at a time: several take the interpreter from the event loop."""
        if not self.server.scrapes.acquire(timeout=self.timeout):
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, b"another scrape is under way\n")
            return
        try:
            if self.server.has_ended(self.connection):
                return
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            body = encode(self.server.registry)
        finally:
            self.server.scrapes.release()
        self._send(HTTPStatus.OK, body, kind)

    def _probe(self, reason: str, fine: str) -> None:
        status = HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK
        self._send(status, f"{reason or fine}\n".encode())

    def _send(self, status: HTTPStatus, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """Return a name without versions: who asks need not know them."""
        return "productsearch"

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent: probes come every few seconds."""
