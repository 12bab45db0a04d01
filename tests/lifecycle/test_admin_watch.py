"""Watchers of health on the admin port: what they do or leave undone holds up nobody."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from productsearch_service import limits
from productsearch_service.observability.health import Health
from tests.calls.http2 import END_HEADERS, HEADERS, PREFACE, SETTINGS, frame, head, message

CHECKED = health_pb2.HealthCheckRequest()
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
PATIENCE_S = 10


@pytest.fixture
def admin() -> Iterator[tuple[Health, int]]:
    """Return the health of a service that is not ready, and the port of its admin server."""
    health = Health("a.Service")
    server = health.admin_server()
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield health, port
    server.stop(0).wait(PATIENCE_S)


@contextmanager
def unread(port: int, count: int) -> Iterator[None]:
    """Watch on connections that have no room for any answer; all that there are threads for do."""
    with ExitStack() as stack:
        for nth in range(1, count + 1):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S))
            line.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
            headers = head("Watch", service="grpc.health.v1.Health")
            line.sendall(
                frame(HEADERS, END_HEADERS, 1, headers) + message(1, CHECKED.SerializeToString())
            )
            # One after the other: of many whose request has not come some would end.
            if nth <= limits.ADMIN_WATCHERS_MAX:
                _until_headers(line)
        yield


def _until_headers(line: socket.socket) -> None:
    """Read up to the headers of an answer: they come with its first message, which has no room."""
    with line.makefile("rb") as answers:
        kind = None
        while kind != HEADERS:
            length, kind = struct.unpack(">IB", b"\0" + answers.read(4))
            answers.read(5 + length)


def _watchers() -> int:
    return sum(each.name.startswith("watch_") for each in threading.enumerate())


def told(health: Health, *, ready: bool) -> None:
    """Say on an event loop whether it is ready; fail if that takes longer than it may."""
    loop = threading.Thread(
        target=lambda: asyncio.run(health.tell_ready(ready)), daemon=True, name="loop"
    )
    loop.start()
    loop.join(PATIENCE_S)
    assert not loop.is_alive(), "the event loop waits for a watcher"


def test_watchers_that_do_not_read_hold_up_nobody(admin: tuple[Health, int]) -> None:
    """The event loop says what it has to, those who ask are answered, others see each change."""
    health, port = admin
    with (
        unread(port, limits.ADMIN_WATCHERS_MAX // 2),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(CHECKED)
        assert NOT_SERVING == next(watch).status
        for ready, status in ((True, SERVING), (False, NOT_SERVING), (True, SERVING)):
            told(health, ready=ready)
            assert status == stub.Check(CHECKED, timeout=PATIENCE_S).status
            assert status == next(watch).status
        watch.cancel()


def test_more_watchers_than_there_may_be_hold_up_no_question(admin: tuple[Health, int]) -> None:
    """They have threads of their own; the oldest gives way to who comes next."""
    health, port = admin
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        with unread(port, 2 * limits.ADMIN_WATCHERS_MAX):
            assert limits.ADMIN_WATCHERS_MAX == _watchers()
            told(health, ready=True)
            assert SERVING == stub.Check(CHECKED, timeout=PATIENCE_S).status
            watch = stub.Watch(CHECKED, timeout=PATIENCE_S)
            assert SERVING == next(watch).status
            watch.cancel()


def test_names_that_nobody_serves_are_unknown(admin: tuple[Health, int]) -> None:
    """NOT_FOUND for who asks, SERVICE_UNKNOWN for who watches, and no name of a caller is kept."""
    health, port = admin
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="another.Service")
        with pytest.raises(grpc.RpcError) as refused:
            stub.Check(request, timeout=PATIENCE_S)
        assert grpc.StatusCode.NOT_FOUND is refused.value.code()  # type: ignore[attr-defined]
        watch = stub.Watch(request, timeout=PATIENCE_S)
        assert health_pb2.HealthCheckResponse.SERVICE_UNKNOWN == next(watch).status
        watch.cancel()
    assert {"", "a.Service", "liveness"} == set(health.in_threads._statuses)
