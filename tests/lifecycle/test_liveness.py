"""Whether the process is alive: its event loop ticks."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from productsearch_service import limits
from productsearch_service.settings import Settings
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream
from tests.lifecycle.asking import http_at, until

STALLED_S = 1.0
POLL_S = 0.05
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
ALIVE = (200, "alive\n", SERVING)
STALLED = (503, "the event loop stands still\n", NOT_SERVING)

Start = Callable[[], Server]


@pytest.fixture
def start(upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return a function that starts a facade with its admin ports in this process."""
    monkeypatch.setattr(limits, "LIVENESS_POLL_S", POLL_S)
    library = {"base_url": upstream.url, "api_key": "k", "secret_key": "s", "quota_qps": 0}
    with contextlib.ExitStack() as running:

        def enter() -> Server:
            settings = Settings(
                listen="127.0.0.1:0",
                admin_listen="127.0.0.1:0",
                metrics_listen="127.0.0.1:0",
                libraries={"default": library},  # type: ignore[dict-item] # as from TOML
                drain_delay_s=0,
                drain_grace_s=1,
            )
            server = Server(settings, with_admin=True)
            server.start()
            running.callback(server.stop)
            until(lambda: 200 == http_at(_metrics(server), "/readyz")[0], "ready")
            return server

        yield enter


def _metrics(server: Server) -> str:
    return f"127.0.0.1:{server.metrics_port}"


def _says(server: Server) -> tuple[int, str, int]:
    """Return what the process says of being alive, by HTTP and by gRPC."""
    with grpc.insecure_channel(f"127.0.0.1:{server.admin_port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="liveness")
        return *http_at(_metrics(server), "/livez"), int(stub.Check(request, timeout=10).status)


def _readiness(server: Server) -> tuple[tuple[int, str], int]:
    """Return what the process says of being ready, by HTTP and by gRPC."""
    with grpc.insecure_channel(f"127.0.0.1:{server.admin_port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        status = stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status
        return http_at(_metrics(server), "/readyz"), int(status)


@contextlib.contextmanager
def _blocked(server: Server) -> Iterator[None]:
    """Let the event loop wait for something that does not come until the block ends."""
    blocks, goes_on = threading.Event(), threading.Event()

    async def block() -> None:
        blocks.set()
        goes_on.wait()

    blocking = threading.Thread(target=server.run, args=(block(),))
    blocking.start()
    assert blocks.wait(10)
    try:
        yield
    finally:
        goes_on.set()
        blocking.join()


def test_an_event_loop_that_stands_still_is_not_alive(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probes answer while the loop is blocked and tell it; they recover with it, each time."""
    monkeypatch.setattr(limits, "LOOP_STALLED_S", STALLED_S)
    server = start()
    for _ in range(2):
        assert ALIVE == _says(server)
        with _blocked(server):
            until(lambda: STALLED == _says(server), "not alive")
            assert 200 == http_at(_metrics(server), "/metrics")[0]
        until(lambda: ALIVE == _says(server), "alive again")


def test_an_event_loop_that_is_late_gets_no_new_calls(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readiness follows it, by HTTP and on the admin port, while the process still is alive."""
    monkeypatch.setattr(limits, "LOOP_LATE_S", STALLED_S)
    late = (STALLED[:2], NOT_SERVING)
    server = start()
    for _ in range(2):
        until(lambda: ((200, "ready\n"), SERVING) == _readiness(server), "ready")
        with _blocked(server):
            until(lambda: late == _readiness(server), "not ready")
            assert ALIVE == _says(server)
    until(lambda: SERVING == _readiness(server)[1], "ready again")


def test_names_that_are_watched_are_not_kept(start: Start) -> None:
    """On the admin port whoever watches names of its own makes no entry for each."""
    server = start()
    before = len(_kept(server))
    with grpc.insecure_channel(f"127.0.0.1:{server.admin_port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for number in range(50):
            watching = stub.Watch(health_pb2.HealthCheckRequest(service=f"name-{number}"))
            told = next(iter(watching)).status
            assert health_pb2.HealthCheckResponse.SERVICE_UNKNOWN == told
            watching.cancel()
    assert before == len(_kept(server))


def _kept(server: Server) -> dict[str, Any]:
    return server.service._health.in_threads._statuses


def test_an_event_loop_that_is_busy_is_alive(start: Start) -> None:
    """A loop that is blocked for less than the limit is never said to be dead."""
    server = start()
    polls = threading.Event()
    with _blocked(server):
        for _ in range(10):
            assert ALIVE == _says(server)
            polls.wait(POLL_S)
    assert ALIVE == _says(server)
