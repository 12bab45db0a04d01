"""Clients that wait to be told to send a body, and lengths as clients write them."""

from __future__ import annotations

import socket

import pytest

from tests.engine.calling import CALLS, Caller
from tests.engine.test_bodies import connected, head


def answered(connection: socket.socket) -> bytes:
    """Return the head and the body of the next answer."""
    got = b""
    connection.settimeout(60)
    while b"\r\n\r\n" not in got or not got.endswith(b"}"):
        piece = connection.recv(65536)
        assert piece, got
        got += piece
    return got


EXPECTS = "Expect: 100-continue", "Content-Length: 4000000"


def test_who_waits_to_send_and_is_answered(shared_caller: Caller) -> None:
    """A call is refused before its body was sent: the connection ends, and the answer says so.

    Else a client that takes the answer for the end would send its next call as that body.
    """
    refused = f"POST {CALLS}search?access_token=wrong HTTP/1.1\r\nHost: x\r\n"
    with connected(
        shared_caller, "\r\n".join([refused + EXPECTS[0], EXPECTS[1], "", ""]).encode()
    ) as (connection,):
        connection.settimeout(60)
        got = b""
        while piece := connection.recv(65536):
            got += piece
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in got.lower()
    assert got.endswith(b'{"error_code":100,"error_msg":"Invalid parameter"}')


@pytest.mark.parametrize("waits", [True, False])
def test_who_waits_to_send_and_may(shared_caller: Caller, waits: bool) -> None:
    """A client that is told to send, or does not wait, keeps its connection."""
    sent = head(shared_caller, "search", "Expect: 100-continue", "Content-Length: 6")
    with connected(shared_caller, sent if waits else sent + b"pn=abc") as (connection,):
        connection.settimeout(60)
        if waits:
            assert b"HTTP/1.1 100 Continue\r\n\r\n" == connection.recv(65536)
            connection.sendall(b"pn=abc")
        got = answered(connection)
        assert b"216100" in got
        assert b"connection: close" not in got.lower()
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP/1.1 200 OK" in answered(connection)


def test_a_length_with_zeros(shared_caller: Caller) -> None:
    """A length is a number, with however many digits."""
    sent = head(shared_caller, "search", f"Content-Length: {6:030}") + b"pn=abc"
    with connected(shared_caller, sent) as (connection,):
        assert b"216100" in answered(connection)
