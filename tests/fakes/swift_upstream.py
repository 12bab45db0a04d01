"""An upstream for millions of calls, as a process: it forgets each request and does what it asks.

A call asks by a mark: the first number of its ``cont_sign``, or its ``class_id1``. Without one
of the marks below the call succeeds. Tokens are good for a thousand calls, so whoever calls
for long has to replace them. ``GET /seen`` tells what was seen.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from typing import Final

SLOW: Final = 60_001
"""The answer takes SLOW_S: time to leave before it comes."""
SLOW_S: Final = 0.3
LARGE_BYTES: Final = 3_000_000
"""Requests from this size on are counted as large."""
_TOKEN_CALLS: Final = 1000
_TAIL_BYTES: Final = 400
_MARK: Final = re.compile(rb"(?:class_id1|cont_sign)=(\d+)")


def _http(body: object, status: str = "200 OK") -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text


_GOOD: Final = {
    b"add": _http({"log_id": 101, "cont_sign": "1,2"}),
    b"search": _http(
        {
            "log_id": 102,
            "has_more": False,
            "result": [
                {"cont_sign": f"{n},2", "score": 0.9 - n / 100, "brief": "a brief"}
                for n in range(10)
            ],
        }
    ),
    b"update": _http({"log_id": 103}),
    b"delete": _http({"log_id": 104}),
}
_FAULTS: Final[dict[str, bytes]] = {
    "missing": _http({"log_id": 7, "error_code": 216680, "error_msg": "item not exist"}),
    "existed": _http(
        {"log_id": 7, "error_code": 216681, "error_msg": "item has existed", "cont_sign": "1,2"}
    ),
    "unreadable": _http({"log_id": 7, "error_code": 216201, "error_msg": "image format error"}),
    "unknown": _http({"log_id": 7, "error_code": 424242, "error_msg": "no such thing"}),
    "internal": _http({"log_id": 7, "error_code": 282000, "error_msg": "internal error"}),
    "gateway": _http(b"<html>out of service</html>", "502 Bad Gateway"),
    "cut": b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"log_id": 7, "cont',
    "closed": b"",
}
MARKS: Final = {name: SLOW + 1 + number for number, name in enumerate(_FAULTS)}
"""Fault -> the mark that asks for it."""
_CLOSING: Final = ("cut", "closed")
_NAMES: Final = {mark: name for name, mark in MARKS.items()}
_REJECTED: Final = _http({"error_code": 110, "error_msg": "Access token invalid"})


class _Upstream:
    """What all connections share: counts, and which tokens are good."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._good_from = 1

    def token(self) -> bytes:
        self.seen["tokens"] += 1
        value = f"24.token.{self.seen['tokens']}"
        return _http({"access_token": value, "expires_in": 2_592_000})

    def answer(self, target: bytes, tail: bytes, length: int) -> tuple[bytes, str]:
        """Return the answer and the name of the fault, SLOW's included."""
        self.seen["calls"] += 1
        self.seen["large"] += length >= LARGE_BYTES
        if self.seen["calls"] % _TOKEN_CALLS == 0:
            self._good_from = self.seen["tokens"] + 1
        if int(target.rpartition(b".")[2]) < self._good_from:
            self.seen["rejected tokens"] += 1
            return _REJECTED, ""
        found = _MARK.search(tail)
        mark = int(found[1]) if found else 0
        if mark in _NAMES:
            self.seen[_NAMES[mark]] += 1
            return _FAULTS[_NAMES[mark]], _NAMES[mark]
        method = target.partition(b"?")[0].rpartition(b"/")[2]
        return _GOOD[method], "slow" if mark == SLOW else ""


class _Connection(asyncio.Protocol):
    """One connection: heads are parsed, bodies counted, all but their ends dropped."""

    def __init__(self, upstream: _Upstream) -> None:
        self._upstream = upstream
        self._head = b""
        self._target = self._tail = b""
        self._length = self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        # A caller sends its next request only after the answer, so no data belongs to two.
        if not self._missing:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._head = self._tail = b""
            self._target = head.split(b" ", 2)[1]
            told = re.search(rb"(?i)content-length: *(\d+)", head)
            self._length = self._missing = int(told[1]) if told else 0
        self._missing -= len(data)
        self._tail = (self._tail + data[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        if not self._missing:
            self._answer()

    def _answer(self) -> None:
        if self._target == b"/seen":
            self._transport.write(_http(self._upstream.seen))
        elif self._target.startswith(b"/oauth/"):
            self._transport.write(self._upstream.token())
        else:
            answer, fault = self._upstream.answer(self._target, self._tail, self._length)
            if fault == "slow":
                asyncio.get_running_loop().call_later(SLOW_S, self._transport.write, answer)
                return
            self._transport.write(answer)
            if fault in _CLOSING:
                self._transport.close()


async def _serve() -> None:
    upstream = _Upstream()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(upstream), "127.0.0.1", 0, backlog=256)
    sys.stdout.write(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
