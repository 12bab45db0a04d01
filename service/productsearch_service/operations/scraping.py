"""The HTTP port: /metrics for Prometheus, /livez and /readyz for who probes by HTTP.

It has threads of its own, so that it answers while every other one is busy. It knows no secrets
and no caller's text; still it is for the pod and its node, not for the network.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Final

from prometheus_client.exposition import choose_encoder

from productsearch_service import limits
from productsearch_service.access.addresses import host_and_port
from productsearch_service.ports import CannotListen, why_not

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

_BACKLOG: Final = 64
_PAUSE_S: Final = 0.1

_log = logging.getLogger(__name__)


class Scraping:
    """Serves ``registry`` and the probes. ``obstacle`` returns why it is not ready, or "".

    Each thread accepts for itself: under load, handing a connection over costs a turn more.
    """

    def __init__(
        self, setting: str, address: str, registry: CollectorRegistry, obstacle: Callable[[], str]
    ) -> None:
        class Handler(_Handler):
            metrics, obstacle_now = registry, staticmethod(obstacle)

        host, port = host_and_port(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise CannotListen(f"{setting}: {address} {why_not(error)}") from None
        self._handler = Handler
        self._closed = threading.Event()
        self.port: int = self._socket.getsockname()[1]

    def start(self) -> None:
        """Begin to serve."""
        for _ in range(limits.ADMIN_THREADS):
            threading.Thread(target=self._serve, name="scrape", daemon=True).start()

    def close(self) -> None:
        """Close the port; what is being answered goes on."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the threads that accept
        self._socket.close()

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                connection, address = self._socket.accept()
            except OSError:  # closed, or out of descriptors for now
                self._closed.wait(_PAUSE_S)
                continue
            try:
                self._handler(connection, address, self)  # type: ignore[arg-type] # only kept
            except OSError:  # who asked has left, or takes too long
                pass
            except Exception:  # noqa: BLE001 - the thread must outlive what one request does
                _log.exception("answering a probe or a scrape failed in an unforeseen way")
            finally:
                connection.close()


class _Handler(BaseHTTPRequestHandler):
    metrics: CollectorRegistry
    obstacle_now: Callable[[], str]
    timeout = limits.ADMIN_TIMEOUT_S
    # Headers and body leave in one piece: each system call gives the interpreter away, and under
    # load it takes long to get it back.
    wbufsize = -1

    def do_GET(self) -> None:
        """Answer one of the three paths."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            self._send(HTTPStatus.OK, encode(self.metrics), kind)
        elif path == "/livez":
            self._send(HTTPStatus.OK, b"alive\n")
        elif path == "/readyz":
            obstacle = self.obstacle_now()
            status = HTTPStatus.SERVICE_UNAVAILABLE if obstacle else HTTPStatus.OK
            self._send(status, f"{obstacle or 'ready'}\n".encode())
        else:
            self._send(HTTPStatus.NOT_FOUND, b"one of /metrics, /livez, /readyz\n")

    def _send(self, status: HTTPStatus, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """Do not tell versions to who asks."""
        return "productsearch"

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent: probes come every few seconds."""
