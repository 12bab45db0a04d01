"""A listener that runs out of descriptors: it waits, says so once a second, and goes on."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import requests

SERVER = """
import resource, sys, threading
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from productsearch_engine import logs
from productsearch_engine.server import listener

logs.start("info")
taken = []

def exhaust():
    try:
        while True:
            taken.append(open("/dev/null"))
    except OSError:
        pass

def obey():
    for line in sys.stdin:
        exhaust() if line == "exhaust\\n" else [file.close() for file in taken]
        print("done", flush=True)

threading.Thread(target=obey, daemon=True).start()
app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("ok"))])
with listener.listening("127.0.0.1", 0) as listening:
    listener.run(app, listening)
"""


def test_out_of_descriptors() -> None:
    """Without a free descriptor callers wait and the log gets a line a second."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
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


def _tell(server: subprocess.Popen[str], order: str) -> None:
    assert server.stdin
    assert server.stdout
    server.stdin.write(order + "\n")
    server.stdin.flush()
    assert "done\n" == server.stdout.readline()
