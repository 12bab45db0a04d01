"""A listener that cannot accept: it waits, says so once a second, and goes on."""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
import requests

SERVER = """
import resource, sys, threading, time
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from productsearch_engine import logs
from productsearch_engine.server import listener

logs.start("info")
taken = []

def exhaust():
    for _ in range(5):  # also what a connection gives back that was closed a moment ago
        try:
            while True:
                taken.append(open("/dev/null"))
        except OSError:
            time.sleep(0.1)

def obey():
    for line in sys.stdin:
        exhaust() if line == "exhaust\\n" else [file.close() for file in taken]
        print("done", flush=True)

threading.Thread(target=obey, daemon=True).start()
app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("ok"))])
with listener.listening("127.0.0.1", 0) as listening:
    listener.run(app, listening)
"""


@contextmanager
def running(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Yield a process of the program, and end it."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            yield server
        finally:
            server.kill()


def test_out_of_descriptors() -> None:
    """Without a free descriptor callers wait and the log gets a line a second."""
    with running(SERVER) as server:
        assert server.stdin
        assert server.stdout
        assert server.stderr
        port = int(server.stdout.readline().rpartition(":")[2])
        assert 200 == requests.get(f"http://127.0.0.1:{port}/", timeout=60).status_code
        _tell(server, "exhaust")
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), 60) as waiting:
            waiting.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            waiting.settimeout(3)
            try:
                told = waiting.recv(1)
            except TimeoutError:
                told = b""
            assert b"" == told
            seconds = time.monotonic() - began
            _tell(server, "free")
            waiting.settimeout(60)
            assert waiting.recv(4096).startswith(b"HTTP/1.1 200 OK")
        server.terminate()
        log = server.stderr.read()
        assert 0 == server.wait(60)
    lines = [line for line in log.splitlines() if "no connection can be accepted" in line]
    assert 2 <= len(lines) <= seconds + 2
    assert "Traceback" not in log


FAILING = """
import os, socket, sys
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from productsearch_engine import logs
from productsearch_engine.server import listener

class Failing(socket.socket):
    left = calls = 0

    def accept(self):
        Failing.calls += 1
        if self.left:
            Failing.left -= 1
            raise OSError(int(sys.argv[1]), os.strerror(int(sys.argv[1])))
        return super().accept()

def answer(request):
    Failing.left = int(request.query_params.get("fail", 0))
    return PlainTextResponse(str(Failing.calls), headers={"Connection": "close"})

logs.start("info")
app = Starlette(routes=[Route("/", answer)])
with listener.listening("127.0.0.1", 0) as listening:
    failing = Failing(fileno=listening.detach())
    listener.run(app, failing)
"""
GONE = ("ECONNABORTED", "EPROTO")
NAMES = ("EMFILE", "EIO", "ECONNABORTED")
MORE = ("ENFILE", "ENOBUFS", "ENOMEM", "ENETDOWN", "EINVAL", "EPROTO")


@pytest.mark.parametrize(
    "name", [*NAMES, *(pytest.param(each, marks=pytest.mark.slow) for each in MORE)]
)
def test_whatever_accept_says(name: str) -> None:
    """After ten failures in a row of any kind the next caller is served; the log has a line a
    second at most, and none of clients that have gone.
    """
    began = time.monotonic()
    with running(FAILING, str(getattr(errno, name))) as server:
        assert server.stdout
        assert server.stderr
        url = f"http://127.0.0.1:{int(server.stdout.readline().rpartition(':')[2])}/"
        assert 200 == requests.get(url, params={"fail": "10"}, timeout=60).status_code
        told = requests.get(url, timeout=60)
        assert 200 == told.status_code
        assert 10 <= int(told.text) <= 20
        server.terminate()
        log = server.stderr.read()
        assert 0 == server.wait(60)
    lines = re.findall("no connection can be accepted: .*", log)
    assert "Traceback" not in log
    assert len(lines) <= time.monotonic() - began + 1
    if name in GONE:
        assert not lines
    else:
        assert os.strerror(getattr(errno, name)) in lines[0]


REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


BUSY = """
import time
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from productsearch_engine.server import listener

async def busy(request):
    print("busy", flush=True)
    time.sleep(1)
    return PlainTextResponse("ok")

app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("ok")), Route("/busy", busy)])
with listener.listening("127.0.0.1", 0) as listening:
    listener.run(app, listening)
"""


@pytest.mark.parametrize("sent_when", ["before", "after"])
def test_who_waits_at_sigterm_is_served(sent_when: str) -> None:
    """The kernel has told them that they are connected: nobody is reset, whether the request was
    sent already or comes a moment later, and the listener is closed then.
    """
    with running(BUSY) as server:
        assert server.stdout
        port = int(server.stdout.readline().rpartition(":")[2])
        waiting = [socket.create_connection(("127.0.0.1", port), 60)]
        waiting[0].sendall(REQUEST.replace(b"/ ", b"/busy "))
        assert "busy\n" == server.stdout.readline()  # the event loop accepts nobody meanwhile
        waiting += [socket.create_connection(("127.0.0.1", port), 60) for _ in range(10)]
        for each in waiting[1:] if sent_when == "before" else ():
            each.sendall(REQUEST)
        server.terminate()
        told = [waiting[0].makefile("rb").readline()]
        for each in waiting[1:] if sent_when == "after" else ():
            each.sendall(REQUEST)
        told += [each.makefile("rb").readline() for each in waiting[1:]]
        assert [b"HTTP/1.1 200 OK\r\n"] * len(waiting) == told
        assert 0 == server.wait(60)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 60)
        for each in waiting:
            each.close()


def _tell(server: subprocess.Popen[str], order: str) -> None:
    assert server.stdin
    assert server.stdout
    server.stdin.write(order + "\n")
    server.stdin.flush()
    assert "done\n" == server.stdout.readline()


UNREAD = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from productsearch_engine.server import listener

listener.WRITE_STALL_S = 1
app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("x" * 60_000))])
with listener.listening("127.0.0.1", 0) as listening:
    listener.run(app, listening)
"""


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the kernel cannot be told")
def test_an_answer_that_nobody_reads() -> None:
    """The kernel holds all of it, and not for as long as an idle connection is kept."""
    with running(UNREAD) as server, socket.socket() as connection:
        assert server.stdout
        port = int(server.stdout.readline().rpartition(":")[2])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", port))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        kept = psutil.Process(server.pid)
        until = time.monotonic() + 20
        time.sleep(0.5)
        while any(one.raddr for one in kept.net_connections()) and time.monotonic() < until:
            time.sleep(0.1)
        assert time.monotonic() < until
