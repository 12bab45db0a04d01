"""Calls of the gRPC admin port that say nothing: they end before they hold all its threads."""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from productsearch_service import limits
from productsearch_service.observability.admin_calls import AdminThreads, HeldCalls
from productsearch_service.observability.health import Health
from productsearch_service.server.reflection import add_reflection
from tests.calls.http2 import DATA, END_HEADERS, HEADERS, PREFACE, SETTINGS, frame, head
from tests.lifecycle.asking import until

SILENT = 5 * limits.ADMIN_THREADS
HEALTH = "grpc.health.v1.Health"
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
PATIENCE_S = 10


@pytest.fixture
def port() -> Iterator[int]:
    """Return the port of an admin server."""
    health = Health("a.Service")
    server = health.admin_server()
    add_reflection(health.reflected_by_admin[1:], server, on_loop=False)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(0).wait(PATIENCE_S)


@contextmanager
def silent(port: int, path: str) -> Iterator[list[Any]]:
    """Begin calls whose request does not come."""
    over = threading.Event()

    def nothing() -> Iterator[bytes]:
        over.wait()
        yield from ()

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        calls = [channel.stream_stream(path)(nothing()) for _ in range(SILENT)]
        try:
            yield calls
        finally:
            over.set()


@pytest.mark.parametrize("path", [CHECK, WATCH])
def test_silent_calls_leave_threads_to_others(
    path: str, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The oldest of them end; whoever asks by another connection is answered, channelz too, and
    nothing is logged.
    """
    own = (("grpc.use_local_subchannel_pool", 1),)
    with (
        silent(port, path) as calls,
        grpc.insecure_channel(f"127.0.0.1:{port}", options=own) as channel,
    ):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for _ in range(20):
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
            assert health_pb2.HealthCheckResponse.NOT_SERVING == answer.status
        channels: Any = channelz_pb2_grpc.ChannelzStub(channel)
        request = channelz_pb2.GetServersRequest()
        assert channels.GetServers(request, timeout=PATIENCE_S).server
        until(
            lambda: sum(not call.is_active() for call in calls) >= SILENT - limits.ADMIN_THREADS,
            "the oldest end",
        )
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


class Context:
    """A call of a connection, which notes that it was ended."""

    def __init__(self, peer: str, ended: list[str]) -> None:
        self.peer = lambda: peer
        self.cancel = lambda: ended.append(peer)


def four_threads(patience_s: float = limits.ADMIN_REQUEST_S) -> HeldCalls:
    """Return the calls of a pool of four threads, of which three may be held."""
    return HeldCalls(AdminThreads(4, "admin"), patience_s)


def test_a_probe_is_not_the_one_that_ends() -> None:
    """However early it came, and however long its request takes: another connection has more."""
    calls, ended = four_threads(), list[str]()
    with ExitStack() as stack:
        for peer in ("the probe", *6 * ["a stranger"]):
            stack.enter_context(calls.hold(Context(peer, ended)))
        assert 4 * ["a stranger"] == ended
    assert not len(calls)


def test_many_probes_at_once_all_stay() -> None:
    """Their requests take a moment, and each has a connection of its own: none has to end."""
    calls, ended, answers = four_threads(10.0), list[str](), list[str]()

    def ask(peer: str) -> None:
        with calls.hold(Context(peer, ended)):
            time.sleep(limits.ADMIN_REQUEST_S / 50)
            answers.append(peer)

    probes = [threading.Thread(target=ask, args=(str(number),)) for number in range(20)]
    for probe in probes:
        probe.start()
    for probe in probes:
        probe.join(PATIENCE_S)
    assert not ended
    assert 20 == len(answers)


def test_the_more_wait_the_less_time_each_has() -> None:
    """A thousand connections with a call each that says nothing: the last has a thread soon."""
    threads, ended = AdminThreads(4, "admin"), list[str]()
    calls = HeldCalls(threads, limits.ADMIN_REQUEST_S)
    threads.queued = 1000
    began_s = time.monotonic()
    with ExitStack() as stack:
        for number in range(200):
            stack.enter_context(calls.hold(Context(str(number), ended)))
    assert [str(number) for number in range(197)] == ended
    # With the moment of an idle port: 200 / 3 * ADMIN_REQUEST_S.
    assert time.monotonic() - began_s < 5


def _connected(stack: ExitStack, port: int, *, window: int = 65_535) -> socket.socket:
    line = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S))
    line.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, window)))
    return line


def _checked(port: int) -> None:
    own = (("grpc.use_local_subchannel_pool", 1),)
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=own) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)


def test_a_call_of_each_of_many_connections_keeps_no_probe_waiting(port: int) -> None:
    """Hundreds of them, none of which says anything."""
    with ExitStack() as stack:
        headers = frame(HEADERS, END_HEADERS, 1, head("Check", service=HEALTH))
        for _ in range(300):
            _connected(stack, port).sendall(headers)
        _checked(port)


def test_streams_whose_answers_are_not_read_leave_threads_to_others(port: int) -> None:
    """Reflection sends more than once in a call; who takes nothing of it gives way."""
    asked = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    service = "grpc.reflection.v1alpha.ServerReflection"
    with ExitStack() as stack:
        for _ in range(2 * limits.ADMIN_THREADS):
            line = _connected(stack, port, window=0)
            line.sendall(frame(HEADERS, END_HEADERS, 1, head("ServerReflectionInfo", "", service)))
            content = b"\0" + struct.pack(">I", len(asked)) + asked
            line.sendall(2 * frame(DATA, 0, 1, content))
        for _ in range(5):
            _checked(port)


def test_an_empty_call_is_told_so(port: int) -> None:
    """Its stream of requests ends before there is one."""
    with (
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
        pytest.raises(grpc.RpcError) as told,
    ):
        channel.stream_unary(CHECK)(iter([]), timeout=PATIENCE_S)
    assert grpc.StatusCode.INVALID_ARGUMENT is told.value.code()  # type: ignore[attr-defined]
