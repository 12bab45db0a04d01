"""An upstream that breaks a connection at a chosen byte, over real TCP on loopback.

Left alone it answers the token endpoint and the four calls and remembers which images are
stored, so an add that arrived whole is carried out even if nobody hears of it, and the same add
again is answered 216681 with the sign. A test arms a Cut; the next request, or each one from
then on, is broken at that byte of what is read or written. All of it is in ``journal``, which
only grows.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import select
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_plus

_ENDPOINT: Final = re.compile(rb"(?:POST|GET) [^ ?]*/(\w+)[ ?]")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
# A gRPC client somewhere on this machine that looks for a server which had this port before.
_HTTP2: Final = b"PRI"
_HEAD_END: Final = b"\r\n\r\n"
_IDLE_TICK_MS: Final = 500
_STALL_TICK_MS: Final = 20
_DRIP_S: Final = 0.2
_DRAIN_S: Final = 5.0
# Small, so that a big image is still being sent when the upstream stops reading.
_RECEIVE_BUFFER_BYTES: Final = 16_384

FOUND: Final = {"cont_sign": "7,7", "score": 0.75, "brief": "the one that is always found"}
"""The one result of every search."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Where and how a connection breaks.

    ``side`` is ``request`` (after ``at`` bytes were read) or ``answer`` (after ``at`` bytes were
    written). ``kind``: ``close`` ends the stream in order, ``reset`` with an RST, ``stall``
    says nothing more until disarmed, ``drip`` goes on with five bytes a second. ``lasting``:
    every request from now on, not the next one alone.
    """

    side: str
    at: int
    kind: str
    lasting: bool = False


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One request: how much of it arrived, what was carried out, what was (to be) answered."""

    method: str
    head_bytes: int
    body_bytes: int
    changed: tuple[str, ...] = ()
    """Signs that it stored, updated or deleted."""
    code: int = 0
    answer_bytes: int = 0
    cut: Cut | None = None


class CuttingUpstream:
    """The upstream; a context manager. ``stored`` maps the sign of each image to its brief."""

    def __init__(self) -> None:
        self.journal: list[Entry] = []
        self.stored: dict[str, str] = {}
        self._cut: Cut | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._armed = False
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> CuttingUpstream:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        # Wakes the thread that accepts, which closing alone does not.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def arm(self, cut: Cut) -> None:
        """Break the next request, or each one if the cut is lasting."""
        with self._lock:
            self._cut, self._armed = cut, True

    def disarm(self) -> None:
        """Behave from now on; connections that are stalled are closed."""
        with self._lock:
            self._cut, self._armed = None, False

    def times(self, method: str, sign: str) -> int:
        """Return how often ``method`` was carried out for ``sign``."""
        return sum(e.method == method and sign in e.changed for e in list(self.journal))

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # Without this each answer on a kept connection waits for the client's delayed ACK.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError), connection:
            while self._request_comes(connection):
                with self._lock:
                    cut = self._cut
                    if cut is not None and not cut.lasting:
                        self._cut = None
                if not self._exchange(connection, cut):
                    return

    def _request_comes(self, connection: socket.socket) -> bool:
        """Wait for a request without taking any of it; False at the stream's end."""
        poll = _poll(connection, select.POLLIN)
        while not self._ended.is_set():
            if poll.poll(_IDLE_TICK_MS):
                begin = connection.recv(len(_HTTP2), socket.MSG_PEEK)
                return bool(begin) and begin != _HTTP2
        return False

    def _exchange(self, connection: socket.socket, cut: Cut | None) -> bool:
        """Read a request and answer it; False if the connection was broken meanwhile."""
        reads_part = cut is not None and cut.side == "request"
        request = _take(connection, cut.at if reads_part and cut else None)
        head, _, body = bytes(request).partition(_HEAD_END)
        head_bytes = len(request) - len(body)
        if not _is_whole(request):
            self.journal.append(
                Entry(method="", head_bytes=head_bytes, body_bytes=len(body), cut=cut)
            )
            if cut is not None:
                self._break(connection, cut)
            return False
        method = _method(head)
        with self._lock:
            members, changed = self._carry_out(method, _fields(body))
            answer = _answer(members)
            self.journal.append(
                Entry(
                    method=method,
                    head_bytes=head_bytes,
                    body_bytes=len(body),
                    changed=changed,
                    code=members.get("error_code", 0),
                    answer_bytes=len(answer),
                    cut=cut,
                )
            )
        if cut is None:
            connection.sendall(answer)
            return True
        if cut.side == "answer":
            connection.sendall(answer[: cut.at])
            if cut.kind == "drip":
                self._drip(connection, answer[cut.at :])
                return True
        self._break(connection, cut)
        return False

    def _carry_out(
        self, method: str, fields: dict[str, bytes]
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Do what a call asks for; return the answer's members and the signs it changed."""
        if method == "token":
            return {"access_token": "24.cut", "expires_in": 2592000}, ()
        if method == "search":
            return {"log_id": 102, "result_num": 1, "result": [FOUND], "has_more": False}, ()
        if method == "add":
            return self._add(fields)
        signs = _signs(fields)
        if not signs or not self.stored.keys() >= set(signs):
            return {"log_id": 9, "error_code": 216680, "error_msg": "item not exist"}, ()
        for sign in signs:
            if method == "delete":
                del self.stored[sign]
            elif "brief" in fields:
                self.stored[sign] = _text(fields["brief"])
        return {"log_id": 103}, signs

    def _add(self, fields: dict[str, bytes]) -> tuple[dict[str, Any], tuple[str, ...]]:
        (sign,) = _signs(fields)
        if sign in self.stored:
            error = {"error_code": 216681, "error_msg": "item has existed", "cont_sign": sign}
            return {"log_id": 9, **error}, ()
        self.stored[sign] = _text(fields["brief"])
        return {"log_id": 101, "cont_sign": sign}, (sign,)

    def _drip(self, connection: socket.socket, rest: bytes) -> None:
        for byte in rest:
            if self._ended.wait(_DRIP_S):
                return
            connection.sendall(bytes([byte]))

    def _break(self, connection: socket.socket, cut: Cut) -> None:
        if cut.kind == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif cut.kind == "close":
            # Closing with bytes unread would reset the connection: take them first.
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(_DRAIN_S)
            while connection.recv(65_536):
                pass
        else:
            poll = _poll(connection, select.POLLRDHUP)
            while self._armed and not poll.poll(_STALL_TICK_MS) and not self._ended.is_set():
                pass


def sign_of(image: bytes) -> str:
    """Return the sign of an image: the same bytes, the same sign."""
    return "{},{}".format(*struct.unpack(">II", hashlib.sha256(image).digest()[:8]))


def _poll(connection: socket.socket, events: int) -> select.poll:
    poll = select.poll()
    poll.register(connection, events)
    return poll


def _take(connection: socket.socket, at_most: int | None) -> bytearray:
    """Read one request, or the first ``at_most`` bytes of it."""
    request = bytearray()
    while not _is_whole(request) and (at_most is None or len(request) < at_most):
        left = 65_536 if at_most is None else min(65_536, at_most - len(request))
        piece = connection.recv(left)
        if not piece:
            break
        request += piece
    return request


def _is_whole(request: bytearray) -> bool:
    head_ends = request.find(_HEAD_END)
    if head_ends < 0:
        return False
    length = _LENGTH.search(request, 0, head_ends)
    body_bytes = int(length[1]) if length else 0
    return len(request) >= head_ends + len(_HEAD_END) + body_bytes


def _method(head: bytes) -> str:
    match = _ENDPOINT.match(head)
    return match[1].decode() if match else ""


def _answer(members: dict[str, Any]) -> bytes:
    body = json.dumps(members).encode()
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return (head % len(body)).encode() + body


def _fields(body: bytes) -> dict[str, bytes]:
    pairs = (pair.partition(b"=") for pair in body.split(b"&"))
    return {name.decode(): value for name, _, value in pairs}


def _text(value: bytes) -> str:
    return unquote_plus(value.decode())


def _signs(fields: dict[str, bytes]) -> tuple[str, ...]:
    """Return the signs that a call is about: its image's, or those it names."""
    if "image" in fields:
        # Only three characters of base64 are ever escaped; urllib takes seconds for 4 MB.
        encoded = fields["image"].replace(b"%2B", b"+").replace(b"%2F", b"/")
        return (sign_of(base64.b64decode(encoded.replace(b"%3D", b"="))),)
    return tuple(filter(None, _text(fields.get("cont_sign", b"")).split(";")))
