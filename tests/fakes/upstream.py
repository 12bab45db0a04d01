"""An upstream that answers what a test tells it to, over real HTTP on loopback.

Left alone it behaves: it issues tokens, accepts the newest ones and answers each call with
success. A test puts answers in front of that, per method: a dict is sent as JSON, bytes as
they are, a Fault breaks the connection in the way it says. Everything received is kept.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PATH = "/rest/2.0/image-classify/v1/realtime_search/product/"
TOKEN_PATH = "/oauth/2.0/token"


@dataclass(frozen=True)
class Fault:
    """A broken answer: ``kind`` is close, reset, cut or stall; ``status`` an HTTP status."""

    kind: str = ""
    status: int = 200
    body: bytes = b""
    seconds: float = 0.0


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    verb: str
    method: str
    query: str
    body: bytes
    headers: dict[str, str] = field(repr=False)

    @property
    def token(self) -> str:
        """The access_token of the query."""
        return parse_qs(self.query).get("access_token", [""])[0]


def search_answer(
    *hits: tuple[str, float, str], has_more: object = False, log_id: object = 7
) -> dict[str, Any]:
    """Return a search answer with these (cont_sign, score, brief)."""
    rows = [{"cont_sign": sign, "score": score, "brief": brief} for sign, score, brief in hits]
    answer: dict[str, Any] = {"log_id": log_id, "result_num": len(rows), "result": rows}
    return answer if has_more is None else answer | {"has_more": has_more}


def error(code: int, message: str = "said so", **members: Any) -> dict[str, Any]:
    """Return an error answer."""
    return {"error_code": code, "error_msg": message, **members}


_GOOD = {
    "add": {"log_id": 101, "cont_sign": "1,2"},
    "search": search_answer(("1,2", 0.9, "a brief")),
    "update": {"log_id": 103},
    "delete": {"log_id": 104},
}


class FakeUpstream:
    """The upstream; a context manager. ``received`` holds all requests, ``calls`` the API's."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.tokens_issued = 0
        self.extra_headers: dict[str, str] = {}
        self._scripts: dict[str, deque[Any]] = defaultdict(deque)
        self._always: dict[str, Any] = {}
        self._lock = threading.Lock()
        upstream = self

        class Handler(_Handler):
            fake = upstream

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FakeUpstream:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def calls(self) -> list[Received]:
        """What arrived at the four calls, in order."""
        return [request for request in self.received if request.method != "token"]

    def then(self, method: str, *answers: Any) -> None:
        """Answer the next requests to ``method`` (or ``token``) with these, one each."""
        self._scripts[method].extend(answers)

    def always(self, method: str, answer: Any) -> None:
        """Answer all requests to ``method`` with this from now on."""
        self._always[method] = answer

    def answer(self, request: Received) -> Any:
        """Note the request and return what it is answered with."""
        with self._lock:
            self.received.append(request)
            script = self._scripts[request.method]
            if script:
                return script.popleft()
            answer = self._always.get(request.method)
            if answer is None and request.method == "token":
                self.tokens_issued += 1
                return {
                    "access_token": f"24.token-{self.tokens_issued}",
                    "expires_in": 2592000,
                    "scope": "brain_all_scope",
                }
        if answer is None:
            return _GOOD.get(request.method, error(3, "Unsupported openapi method"))
        return answer(request) if callable(answer) else answer


class _Quiet(ThreadingHTTPServer):
    """A server that says nothing of callers who left before their answer."""

    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what is not a broken connection."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    fake: FakeUpstream
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        method = "token" if url.path == TOKEN_PATH else url.path.removeprefix(PATH)
        received = Received(self.command, method, url.query, body, dict(self.headers))
        answer = self.fake.answer(received)
        if isinstance(answer, Fault):
            self._break(answer)
        else:
            self._send(200, answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    do_GET = do_POST  # noqa: N815 - the name that http.server looks for

    def _break(self, fault: Fault) -> None:
        if fault.seconds:
            time.sleep(fault.seconds)
        if fault.kind == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
        elif fault.kind == "cut":
            self._send(fault.status, fault.body or b'{"log_id": 1, "cont', missing=50)
        elif not fault.kind:
            self._send(fault.status, fault.body)
        if fault.kind:
            self.close_connection = True

    def _send(self, status: int, body: bytes, missing: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) + missing))
        for name, value in self.fake.extra_headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""
