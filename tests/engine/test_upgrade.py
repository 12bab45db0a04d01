"""Requests that wish for another protocol are answered in HTTP/1.1, body and all."""

from __future__ import annotations

import socket
import time

import pytest

from demo.processes import Engine
from tests.engine.calling import CALLS, Caller
from tests.engine.databases import one_postgresql
from tests.engine.wire import Wire

pytestmark = one_postgresql

_FORM = b"cont_sign=1,2&brief=x"
_CHUNKED = b"a\r\ncont_sign=\r\nb\r\n1,2&brief=x\r\n0\r\n\r\n"
_WISHES = {
    "Java": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
    "websocket": "Upgrade: websocket\r\nConnection: upgrade",
    "TLS": "Upgrade: TLS/1.0\r\nConnection: Upgrade",
    "none": "X: y",
}


def request(caller: Caller, wish: str, *, framing: str = f"Content-Length: {len(_FORM)}") -> bytes:
    """Return the head of an update."""
    lines = [
        f"POST {CALLS}update?access_token={caller.token} HTTP/1.1",
        "Host: x",
        wish,
        "Content-Type: application/x-www-form-urlencoded",
        framing,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def outcome(caller: Caller, sent: bytes) -> str:
    """Send a request on a connection of its own; return what came of it."""
    wire = Wire(caller.url)
    try:
        return wire.outcome(sent, whole=True)
    finally:
        wire.close()


@pytest.mark.parametrize("name", _WISHES)
def test_a_wish_is_not_heard(name: str, shared_caller: Caller) -> None:
    """The call is done as without it, and the next ones on the connection, too."""
    wire = Wire(shared_caller.url)
    wished = request(shared_caller, _WISHES[name])
    chunked = request(shared_caller, _WISHES[name], framing="Transfer-Encoding: chunked")
    for sent in (wished + _FORM, chunked + _CHUNKED, wished + _FORM):
        assert "code 216680" == wire.outcome(sent, whole=True)
    wire.close()


def test_the_body_may_come_later(shared_caller: Caller) -> None:
    """Each part of a request may come by itself, and another request behind it."""
    host, port = shared_caller.url.removeprefix("http://").split(":")
    sent = (request(shared_caller, _WISHES["TLS"]) + _FORM) * 2
    for pieces in ((200,), (len(sent) // 2 - 5,), (len(sent) // 2 - 30, len(sent) // 2 + 9)):
        with socket.create_connection((host, int(port)), 30) as connection:
            first = 0
            for end in (*pieces, len(sent)):
                connection.sendall(sent[first:end])
                first = end
                time.sleep(0.05)
            got = b""
            while got.count(b"216680") < 2:
                piece = connection.recv(65536)
                assert piece, got
                got += piece


def test_many_wishes_at_once(engine: Engine, shared_caller: Caller) -> None:
    """They are requests like any others: no more than a connection's may wait."""
    host, port = shared_caller.url.removeprefix("http://").split(":")
    before = engine.log().count("Traceback")
    with socket.create_connection((host, int(port)), 30) as connection:
        connection.sendall((request(shared_caller, _WISHES["TLS"]) + _FORM) * 500)
        try:
            while connection.recv(65536):
                pass
        except ConnectionResetError:
            pass
    assert "code 216680" == outcome(shared_caller, request(shared_caller, _WISHES["none"]) + _FORM)
    assert before == engine.log().count("Traceback")


def test_connect(shared_caller: Caller) -> None:
    """The engine is no proxy."""
    assert "HTTP 400" == outcome(shared_caller, b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n")
