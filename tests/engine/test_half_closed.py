"""Clients that close their side of the connection after the request, and read on."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import ExitStack, suppress
from urllib.parse import urlencode

import pytest

from productsearch_engine.server import half_closed
from tests.engine.calling import CALLS, Caller, image_field
from tests.engine.image_files import jpeg
from tests.engine.test_bodies import connected
from tests.engine.test_listener import running

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


def search(caller: Caller, version: str = "1.1") -> bytes:
    """Return a search for an image: its answer takes a moment."""
    body = urlencode({"image": image_field(jpeg(1)), "rn": "1"}).encode()
    target = f"{CALLS}search?access_token={caller.token}"
    head = f"POST {target} HTTP/{version}\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def all_that_comes(connection: socket.socket) -> bytes:
    """Close the side that sends and return what is answered, without interim answers."""
    connection.settimeout(60)
    connection.shutdown(socket.SHUT_WR)
    got = b""
    while piece := connection.recv(65536):
        got += piece
    return got.replace(INTERIM, b"")


@pytest.mark.parametrize("number", [1, 3])
def test_who_sends_no_more_is_answered(shared_caller: Caller, number: int) -> None:
    """All requests of a connection are answered, in order, and the last answer ends it."""
    with connected(shared_caller, search(shared_caller) * number) as (connection,):
        got = all_that_comes(connection)
    assert number == got.count(b"HTTP/1.1 200 OK\r\n") == got.count(b'"result_num"')
    assert 1 == got.lower().count(b"connection: close")


def test_a_client_of_the_standard_library(shared_caller: Caller) -> None:
    """It passes over the interim answer, as every client of HTTP/1.1 has to."""
    host = shared_caller.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=60)
    body = urlencode({"image": image_field(jpeg(1))})
    connection.request("POST", f"{CALLS}search?access_token={shared_caller.token}", body)
    connection.sock.shutdown(socket.SHUT_WR)
    with connection.getresponse() as response:
        assert b'"result_num"' in response.read()


def test_a_cut_request_is_not_answered(shared_caller: Caller) -> None:
    """The rest of it cannot come."""
    with connected(shared_caller, search(shared_caller)[:-9]) as (connection,):
        assert b"" == all_that_comes(connection)


def test_http_1_0_cannot_be_asked(shared_caller: Caller) -> None:
    """So only what stores nothing is answered; a client that sends no more has left otherwise."""
    with connected(shared_caller, search(shared_caller, "1.0")) as (connection,):
        assert b"" == all_that_comes(connection)
    with connected(shared_caller, b"GET /healthz HTTP/1.0\r\n\r\n") as (connection,):
        assert b"200 OK" in all_that_comes(connection)


WAITING = """
import asyncio
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from productsearch_engine.server import listener

async def wait(request):
    print("waits", flush=True)
    for _ in range(500):
        if await request.is_disconnected():
            print("left", flush=True)
            break
        await asyncio.sleep(0.02)
    else:
        print("stayed", flush=True)
    return PlainTextResponse("ok")

with listener.listening("127.0.0.1", 0) as listening:
    listener.run(Starlette(routes=[Route("/", wait)]), listening)
"""


def forward(source: socket.socket, target: socket.socket) -> None:
    """Pass on what comes, and its end; end both if that fails. So do forwarders of ports."""
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.mark.parametrize("forwarded", [False, True])
def test_who_has_left_is_known(forwarded: bool) -> None:
    """The work for him may end, also if something between forwards his connection."""
    with running(WAITING) as server, ExitStack() as opened:
        assert server.stdout
        port = int(server.stdout.readline().rpartition(":")[2])
        if forwarded:
            target = opened.enter_context(socket.create_connection(("127.0.0.1", port), 60))
            door = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = door.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            if forwarded:
                source = opened.enter_context(door.accept()[0])
                for ends in ((source, target), (target, source)):
                    threading.Thread(target=forward, args=ends, daemon=True).start()
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert "waits\n" == server.stdout.readline()
        assert "left\n" == server.stdout.readline()


def test_a_closed_socket_has_left() -> None:
    """A transport without a socket, or with one that was closed, has nobody there."""

    class Transport:
        def get_extra_info(self, _: str) -> socket.socket:
            closed = socket.socket()
            closed.close()
            return closed

    assert half_closed.has_left(Transport())  # type: ignore[arg-type]
