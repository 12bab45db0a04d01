"""The HTTP port: /metrics for Prometheus, /livez and /readyz for who probes by HTTP.

It has threads of its own, so that it answers while every other one is busy. It knows no secrets
and no caller's text; still it is for the pod and its node, not for the network.
"""

from __future__ import annotations

import logging
import socket
import socketserver
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.exposition import choose_encoder

from productsearch_service import limits
from productsearch_service.addresses import host_and_port
from productsearch_service.ports import CannotListen, why_not

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

_POLL_S: Final = 0.1
"""How soon the port notices that it is closed."""

_log = logging.getLogger(__name__)


class Scraping:
    """Serves ``registry`` and the probes. ``obstacle`` returns why it is not ready, or ""."""

    def __init__(
        self, setting: str, address: str, registry: CollectorRegistry, obstacle: Callable[[], str]
    ) -> None:
        class Handler(_Handler):
            metrics, obstacle_now = registry, staticmethod(obstacle)

        try:
            self._server = _Server(address, Handler)
        except OSError as error:
            raise CannotListen(f"{setting}: {address} {why_not(error)}") from None
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        """Begin to serve."""
        Thread(
            target=self._server.serve_forever, args=(0.1,), name="scrape-accept", daemon=True
        ).start()

    def close(self) -> None:
        """Stop serving; only after start."""
        self._server.shutdown()
        self._server.server_close()


class _Server(HTTPServer):
    """Answers with a few threads; each connection is one request."""

    request_queue_size = 64

    def __init__(self, address: str, handler: type[BaseHTTPRequestHandler]) -> None:
        host, port = host_and_port(address)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._pool = ThreadPoolExecutor(limits.ADMIN_THREADS, thread_name_prefix="scrape")
        super().__init__((host, port), handler)

    def server_bind(self) -> None:
        """Bind, without asking the name service for this machine's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Let a thread of the pool answer."""
        self._pool.submit(self._answer, request, client_address)

    def server_close(self) -> None:
        """Close the port; what is being answered goes on."""
        super().server_close()
        self._pool.shutdown(wait=False)

    def _answer(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError:  # who asked has left, or takes too long
            pass
        except Exception:  # noqa: BLE001 - the thread's end: nobody else would hear of it
            _log.exception("answering a probe or a scrape failed in an unforeseen way")
        finally:
            self.shutdown_request(request)


class _Handler(BaseHTTPRequestHandler):
    metrics: CollectorRegistry
    obstacle_now: Callable[[], str]
    timeout = limits.ADMIN_TIMEOUT_S

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
