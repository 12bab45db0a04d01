"""Connections to the metrics port that never finish a request keep nobody out."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.facade import Facade
from productsearch_service import limits
from tests.fakes.upstream import FakeUpstream
from tests.lifecycle.asking import http_at, until, until_ready

QUICK = {"PRODUCTSEARCH_DRAIN_DELAY_S": "0", "PRODUCTSEARCH_DRAIN_GRACE_S": "1"}
REQUEST = b"GET /livez HTTP/1.1\r\nHost: here\r\nX-Endless: "
ROUNDS = 10
BETWEEN_S = 0.1
PATIENCE_S = 2.0
"""For one answer: less than the silence after which a slow client is cut off."""


@pytest.fixture
def process(upstream: FakeUpstream, tmp_path: Path) -> Iterator[Facade]:
    """Return a running service in front of the fake upstream, ready."""
    with Facade(tmp_path, upstream.url, {"default": ("k", "s")}, environment=QUICK) as running:
        until_ready(running)
        yield running


class Drips:
    """Connections that send a byte at a time and never an end; one that is cut off comes again."""

    def __init__(self, address: str, count: int) -> None:
        host, _, port = address.rpartition(":")
        self._address = (host, int(port))
        self._count = count
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drip)
        self.rounds = 0
        """How often each connection has sent a byte."""

    def __enter__(self) -> Drips:
        self._thread.start()
        until(lambda: self.rounds >= 2, "all connections drip")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _drip(self) -> None:
        with contextlib.ExitStack() as stack:
            drips: list[tuple[socket.socket, int]] = []
            while not self._stop.wait(BETWEEN_S):
                for _ in range(self._count - len(drips)):
                    drips.append((stack.enter_context(socket.create_connection(self._address)), 0))
                drips = [(drip, sent + 1) for drip, sent in drips if _send(drip, sent)]
                self.rounds += 1


def _send(drip: socket.socket, sent: int) -> bool:
    """Send one more byte; return whether the connection still stands."""
    try:
        drip.send(REQUEST[sent : sent + 1] or b"x")
    except OSError:
        drip.close()
        return False
    return True


@pytest.mark.parametrize("count", [4, 40])
def test_dripping_connections_keep_nobody_out(process: Facade, count: int) -> None:
    """More connections than the port holds, too: liveness, readiness and metrics all answer."""
    assert 4 < limits.ADMIN_CONNECTIONS_MAX < 40
    with Drips(process.metrics, count) as drips:
        for number in range(ROUNDS):
            until(lambda n=number: drips.rounds > n, "dripped on")  # type: ignore[misc]
            assert (200, "alive\n") == http_at(process.metrics, "/livez", PATIENCE_S)
            assert (200, "ready\n") == http_at(process.metrics, "/readyz", PATIENCE_S)
            status, samples = http_at(process.metrics, "/metrics", PATIENCE_S)
            assert (200, True) == (status, "productsearch_ready 1.0" in samples)


@pytest.mark.parametrize("count", [4, 40])
def test_silent_connections_keep_nobody_out(process: Facade, count: int) -> None:
    """Connections that send nothing at all are no different."""
    host, _, port = process.metrics.rpartition(":")
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection((host, int(port))))
        for path in ("/livez", "/readyz", "/metrics") * ROUNDS:
            assert 200 == http_at(process.metrics, path, PATIENCE_S)[0]
