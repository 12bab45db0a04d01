"""Refusals that their caller does not take: it reads a little at times, and TCP has no room."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.calls.http2 import (
    END_HEADERS,
    HEADERS,
    PREFACE,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    head,
    message,
)
from tests.calls.silent import UNARY, admission_of, calls_of_grpc, policy_file
from tests.calls.test_silence import searched
from tests.calls.test_unread_answers import MOST
from tests.calls.watching import until
from tests.conftest import ServerFactory
from tests.facade import Server

CALLS = 500
"""On one connection at once: below ``connection_streams_max``."""
FILLING = (1, 3)
"""Streams of calls whose answers have 3 MB each: more than the system takes of a connection."""
ROOM = 2**30


@contextmanager
def unread(server: Server, method: str) -> Iterator[None]:
    """Begin calls of a stranger on a connection that is full.

    A little is read from it now and then: the system ends one that stands still.
    """
    with socket.socket() as line, ThreadPoolExecutor(1) as threads:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        line.connect(("127.0.0.1", server.port))
        streams = struct.pack(">HI", 4, ROOM)
        connection = struct.pack(">I", ROOM)
        line.sendall(PREFACE + frame(SETTINGS, 0, 0, streams))
        line.sendall(frame(WINDOW_UPDATE, 0, 0, connection))
        headers = head("BatchDeleteImages", "one")
        for stream in FILLING:
            line.sendall(frame(HEADERS, END_HEADERS, stream, headers))
            line.sendall(message(stream, MOST.SerializeToString()))
        until(lambda: calls_of_grpc(server) > 0)
        time.sleep(1)
        headers = head(method)
        for number in range(CALLS):
            line.sendall(frame(HEADERS, END_HEADERS, FILLING[-1] + 2 * number + 2, headers))
        ended = threading.Event()
        threads.submit(_read_a_little, line, ended)
        try:
            yield
        finally:
            ended.set()


def _read_a_little(line: socket.socket, ended: threading.Event) -> None:
    while not ended.wait(0.5) and line.recv(32_768):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("method", ["BulkAddImages", *UNARY[:1]])
def test_an_unread_refusal_ends_in_time(method: str, server: ServerFactory, tmp_path: Path) -> None:
    """No place is taken, others are served, and gRPC has nothing of the calls after their time."""
    running = server(policy_file=policy_file(tmp_path), receive_timeout_s=4)
    assert {"OK"} == searched(running, "two")
    with unread(running, method):
        until(lambda: calls_of_grpc(running) > CALLS // 2, seconds=30)
        admission = admission_of(running)
        assert 0 == admission.streams.in_flight
        assert len(FILLING) >= admission.unary.in_flight[0]
        assert {"OK"} == searched(running, "two", 3)
        until(lambda: calls_of_grpc(running) <= 1, seconds=15)
