"""An upstream, as a process, that answers a large request before it has read all of it.

``python -m tests.fakes.early_upstream KIND BYTES`` prints its URL. Of each call it reads that many
bytes of the body, answers error 216202 with HTTP status 413, and goes on as KIND says:
``reset`` closes at once, which resets the connection; ``later`` does so after a while; ``close``
ends its side and reads what still comes; ``silent`` does neither read nor close; ``kept`` reads the
rest and then the next request. All but the last say ``Connection: close``. ``GET /seen`` tells how
many calls there were.
A process of its own runs while the facade does: in a thread it would have to wait for the GIL.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import requests

KINDS: Final = ("reset", "later", "close", "silent", "kept")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LATER_S: Final = 0.2
_PIECE_BYTES: Final = 65_536


class EarlyUpstream:
    """The process, as its starter sees it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def calls(self) -> int:
        """Return how many calls have come."""
        return int(requests.get(f"{self.url}/seen", timeout=10).text)


@contextmanager
def early_upstream(kind: str, at_bytes: int) -> Iterator[EarlyUpstream]:
    """Run the process."""
    command = [sys.executable, "-m", __name__, kind, str(at_bytes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield EarlyUpstream(process.stdout.readline().strip())
        finally:
            process.kill()


class _Early:
    def __init__(self, kind: str, at_bytes: int) -> None:
        self._kind = kind
        self._at_bytes = at_bytes
        self._calls = 0
        self._lock = threading.Lock()

    def serve(self) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=128) as door:
            print(f"http://127.0.0.1:{door.getsockname()[1]}", flush=True)
            while True:
                connection, _ = door.accept()
                threading.Thread(target=self._connection, args=(connection,), daemon=True).start()

    def _connection(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, EOFError):
            rest = b""
            while True:
                rest = self._request(connection, rest)

    def _request(self, connection: socket.socket, buffer: bytes) -> bytes:
        """Answer one request; return what was read of the next one."""
        while b"\r\n\r\n" not in buffer:
            buffer += _some(connection)
        head, _, body = buffer.partition(b"\r\n\r\n")
        found = _LENGTH.search(head)
        length = int(found[1]) if found else 0
        path = head.split(b" ", 2)[1].partition(b"?")[0]
        if not path.endswith((b"/token", b"/seen")):
            return self._call(connection, body, length)
        while len(body) < length:
            body += _some(connection)
        told = {"access_token": "24.early", "expires_in": 2_592_000}
        connection.sendall(_http("200 OK", self._calls if path == b"/seen" else told))
        return body[length:]

    def _call(self, connection: socket.socket, body: bytes, length: int) -> bytes:
        with self._lock:
            self._calls += 1
        read = len(body)
        while read < min(self._at_bytes, length):
            read += len(_some(connection))
        error = {"error_code": 216202, "error_msg": "image size error", "log_id": 5}
        more = "" if self._kind == "kept" else "Connection: close\r\n"
        connection.sendall(_http("413 Content Too Large", error, more))
        if self._kind == "later":
            time.sleep(_LATER_S)
        if self._kind in ("reset", "later"):
            raise EOFError
        if self._kind == "silent":
            time.sleep(3600)
        if self._kind == "close":
            connection.shutdown(socket.SHUT_WR)
        while read < length:
            read += len(_some(connection))
        return b""


def _some(connection: socket.socket) -> bytes:
    piece = connection.recv(_PIECE_BYTES)
    if not piece:
        raise EOFError
    return piece


def _http(status: str, body: object, more: str = "") -> bytes:
    text = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(text)}\r\n\r\n"
    return head.encode() + text


if __name__ == "__main__":
    _Early(sys.argv[1], int(sys.argv[2])).serve()
