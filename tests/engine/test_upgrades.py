"""An offer to speak another protocol is ignored, and the request is answered with its body."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final

import pytest

from demo.processes import Engine
from tests.engine.calling import CALLS, Caller, image_field
from tests.engine.image_files import jpeg

OFFERS: Final = {
    "h2c": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    "TLS": "Upgrade: TLS/1.0\r\nConnection: upgrade\r\n",
    "WebSocket": "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    "several": "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\nUpgrade: TLS/1.2\r\n",
}
LEAST_S: Final = 0.05


def _token(caller: Caller) -> tuple[str, bytes]:
    pair = f"client_id={caller.api_key}&client_secret={caller.secret_key}"
    return "/oauth/2.0/token", f"grant_type=client_credentials&{pair}".encode()


def _search(caller: Caller) -> tuple[str, bytes]:
    form = f"rn=1&image={image_field(jpeg(1))}"
    return f"{CALLS}search?access_token={caller.token}", form.encode()


def _console(_: Caller) -> tuple[str, bytes]:
    return "/console/sign-in", b"name=nobody&password=wrong&token=none"


REQUESTS: Final = {
    _token: (200, b'"access_token"'),
    _search: (200, b'"result"'),
    _console: (403, b"</html>"),
}


def _head(path: str, size: int | None, offer: str) -> bytes:
    length = "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}"
    form = "Content-Type: application/x-www-form-urlencoded"
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{form}\r\n{length}\r\n{offer}\r\n".encode()


def _parts(path: str, form: bytes, offer: str) -> dict[str, list[bytes]]:
    """Return ways to send a request: each a list of what is sent at once."""
    head = _head(path, len(form), offer)
    half = len(head) // 2
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(form), form)
    return {
        "together": [head + form],
        "late": [head, form],
        "in pieces": [head[:half], head[half:] + form[:10], form[10:]],
        "chunked": [_head(path, None, offer) + chunked],
    }


def _is_cut(line: socket.socket) -> bool:
    """Read until the connection ends, which it may do by a reset."""
    with suppress(ConnectionResetError):
        while line.recv(65536):
            pass
    return True


def _answer(line: socket.socket) -> bytes:
    """Return the bytes of one answer."""
    read = b""
    while b"\r\n\r\n" not in read:
        read += line.recv(65536)
    head, _, body = read.partition(b"\r\n\r\n")
    (length,) = (
        int(value)
        for name, _, value in (field.partition(b":") for field in head.split(b"\r\n"))
        if name.lower() == b"content-length"
    )
    while len(body) < length:
        body += line.recv(65536)
    return head + b"\r\n\r\n" + body


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("request_of", REQUESTS)
def test_the_request_is_answered(
    request_of: Callable[[Caller], tuple[str, bytes]],
    offer: str,
    engine: Engine,
    shared_caller: Caller,
) -> None:
    """With its body, however that comes; so is the next one on the connection."""
    path, form = request_of(shared_caller)
    status, told = REQUESTS[request_of]
    address = ("127.0.0.1", int(engine.url.rpartition(":")[2]))
    with closing(socket.create_connection(address, timeout=60)) as line:
        for way, parts in _parts(path, form, OFFERS[offer]).items():
            for part in parts:
                line.sendall(part)
                time.sleep(LEAST_S if len(parts) > 1 else 0)
            answer = _answer(line)
            assert answer.startswith(b"HTTP/1.1 %d " % status), (way, answer)
            assert told in answer, (way, answer)


def test_a_connection_that_is_cut_leaves_no_traceback(
    engine: Engine, shared_caller: Caller
) -> None:
    """Whatever it is cut for while an earlier request on it is answered."""
    path, form = _search(shared_caller)
    request = _head(path, len(form), "") + form
    address = ("127.0.0.1", int(engine.url.rpartition(":")[2]))
    before = engine.log().count("Traceback")
    for more in (request * 40, request + b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200):
        with closing(socket.create_connection(address, timeout=60)) as line:
            line.sendall(request + more)
            assert _is_cut(line)
    shared_caller.call("search", image=jpeg(1))
    assert before == engine.log().count("Traceback")
