"""Health on the service's own port answers however many calls of it are silent."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import given
from hypothesis import strategies as st

from productsearch_service import limits
from productsearch_service.rpc.bystanders import Bystanders
from tests.calls.silent import Silence, admission_of, connected
from tests.calls.watching import until
from tests.conftest import ServerFactory
from tests.facade import Server

CHECK = "/grpc.health.v1.Health/Check"
SILENT = 1000
PATIENCE_S = 20


def status(channel: grpc.Channel) -> int:
    """Return what Check answers."""
    health = health_pb2_grpc.HealthStub(channel)
    return int(health.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S).status)


def bystanders(server: Server) -> int:
    """Return how many calls of health and reflection are open."""
    return admission_of(server).bystanders.in_flight


@pytest.fixture
def silent_checks() -> Iterator[Any]:
    """Return a function that opens silent calls of Check from a process of its own."""
    processes: list[subprocess.Popen[str]] = []

    def start(server: Server, count: int) -> None:
        command = [sys.executable, "-m", "tests.abuse.silent", f"127.0.0.1:{server.port}", CHECK]
        process = subprocess.Popen(
            [*command, "--count", str(count), "--connections", "10"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert ["connected\n", "begun\n"] == [process.stdout.readline() for _ in range(2)]

    yield start
    for process in processes:
        process.communicate()


def test_a_thousand_silent_checks_keep_nobody_out(
    server: ServerFactory, silent_checks: Any
) -> None:
    """More than may be open: the oldest end, and every probe is answered."""
    running = server()
    with connected(running) as channel:
        silent_checks(running, SILENT)
        until(lambda: bystanders(running) >= limits.BYSTANDERS_RECEIVING_MAX)
        for _ in range(50):
            assert health_pb2.HealthCheckResponse.SERVING == status(channel)
            assert bystanders(running) <= limits.BYSTANDERS_MAX
        assert 0 == admission_of(running).receiving.held[0]


def test_a_silent_check_ends(server: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that does not come within its time: UNAVAILABLE, and none at all is told."""
    monkeypatch.setattr(limits, "BYSTANDER_TIMEOUT_S", 0.2)
    running = server()
    with connected(running) as channel, Silence(channel) as silence:
        calls = silence.unary(CHECK, count=20)
        assert {grpc.StatusCode.UNAVAILABLE} == {call.code() for call in calls}
        empty = channel.stream_unary(CHECK).future(iter(()))
        assert grpc.StatusCode.INVALID_ARGUMENT == empty.code()
        until(lambda: bystanders(running) == 0)
        assert health_pb2.HealthCheckResponse.SERVING == status(channel)


def test_few_are_received_at_a_time(server: ServerFactory, silent_checks: Any) -> None:
    """Of many silent ones; a message may be large, so the memory for it has a bound."""
    running = server()
    with connected(running) as channel:
        silent_checks(running, 100)
        for _ in range(20):
            assert health_pb2.HealthCheckResponse.SERVING == status(channel)
            receiving = len(admission_of(running).bystanders._receiving)
            assert receiving <= limits.BYSTANDERS_RECEIVING_MAX


def test_nothing_compressed_is_taken(server: ServerFactory) -> None:
    """A few kilobytes would become RECEIVE_BYTES_MAX before anybody is asked who calls."""
    with connected(server()) as channel:
        for method in (CHECK, "/productsearch.v1.ProductSearch/SearchImages"):
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(method)(
                    bytes(1 << 20), compression=grpc.Compression.Gzip, timeout=PATIENCE_S
                )
            assert grpc.StatusCode.UNIMPLEMENTED == refused.value.code()


@pytest.mark.parametrize("method", [CHECK, "/productsearch.v1.ProductSearch/SearchImages"])
def test_a_refused_message_is_freed(method: str, server: ServerFactory) -> None:
    """At once, not when the interpreter looks for cycles some day."""
    message = bytes(4 << 20)
    with connected(server()) as channel:
        call = channel.unary_unary(method)
        gc.disable()
        try:
            before = psutil.Process().memory_info().rss
            for _ in range(40):
                assert grpc.StatusCode.INVALID_ARGUMENT == call.future(message).code()
            assert psutil.Process().memory_info().rss - before < 10 * len(message)
        finally:
            gc.enable()


def test_a_stop_does_not_wait_for_watches(server: ServerFactory) -> None:
    """An open Watch and a silent Check end with the drain delay, not with the grace."""
    running = server(drain_delay_s=0.2, drain_grace_s=60)
    with connected(running) as channel, Silence(channel) as silence:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert health_pb2.HealthCheckResponse.SERVING == next(watch).status
        (check,) = silence.unary(CHECK)
        until(lambda: bystanders(running) == 2)
        stopping = threading.Thread(target=running.stop)
        stopping.start()
        assert health_pb2.HealthCheckResponse.NOT_SERVING == next(watch).status
        with pytest.raises(grpc.RpcError):
            next(watch)
        assert grpc.StatusCode.UNAVAILABLE == check.code()
        stopping.join(PATIENCE_S)
        assert not stopping.is_alive()


class _Context:
    """What a handler is given; its request comes when the test says so."""

    def __init__(self, address: str = "ipv4:10.0.0.1:1") -> None:
        self.address = address
        self.request: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.aborted: grpc.StatusCode | None = None

    def peer(self) -> str:
        return self.address

    async def read(self) -> bytes:
        return await self.request

    async def abort(self, code: grpc.StatusCode, _: str) -> None:
        self.aborted = code
        raise asyncio.CancelledError


async def _echo(request: bytes, _: object) -> bytes:
    return request


@given(
    st.lists(
        st.tuples(st.sampled_from(("open", "send", "leave", "late", "all")), st.integers(0, 9)),
        max_size=40,
    )
)
def test_bystanders_end_in_any_order(steps: list[tuple[str, int]]) -> None:
    """Opened, served, left, late and ended in any order: never too many, and nothing is left."""
    asyncio.run(_end_in_any_order(steps))


async def _end_in_any_order(steps: list[tuple[str, int]]) -> None:
    bystanders = Bystanders(calls_max=3)
    handler = bystanders.wrap(grpc.unary_unary_rpc_method_handler(_echo))
    open_: list[tuple[_Context, asyncio.Task[Any]]] = []
    for step, which in steps:
        if step == "open":
            context = _Context()
            open_.append((context, asyncio.create_task(handler.stream_unary(None, context))))
        elif step == "all":
            bystanders.end_all()
        elif open_:
            context, task = open_[which % len(open_)]
            if step == "leave":
                task.cancel()
            elif step == "send" and not context.request.done():
                context.request.set_result(b"x")
            elif step == "late":  # its time is over in this very turn of the loop
                for timer in bystanders._open:
                    if not timer.expired():
                        timer.reschedule(asyncio.get_running_loop().time())
        if which % 2:
            await asyncio.sleep(0)
            assert bystanders.in_flight <= 3
    await asyncio.sleep(0)  # all have begun
    bystanders.end_all()
    done = await asyncio.wait_for(
        asyncio.gather(*(task for _, task in open_), return_exceptions=True), 5
    )
    assert all(each == b"x" or isinstance(each, asyncio.CancelledError) for each in done)
    assert 0 == bystanders.in_flight


def test_who_has_the_most_calls_loses_the_oldest() -> None:
    """A watch from elsewhere stays, though it is older than all of them."""

    async def run() -> None:
        bystanders = Bystanders(calls_max=3, receiving_max=3)
        handler = bystanders.wrap(grpc.unary_unary_rpc_method_handler(_echo))
        watch = _Context("ipv4:10.0.0.9:1")
        open_ = [watch, *(_Context(f"ipv4:10.0.0.1:{port}") for port in range(10))]
        tasks = [asyncio.create_task(handler.stream_unary(None, context)) for context in open_]
        await asyncio.sleep(0.01)
        assert 3 == bystanders.in_flight
        assert [None] + 8 * [grpc.StatusCode.UNAVAILABLE] + 2 * [None] == [
            context.aborted for context in open_
        ]
        bystanders.end_all()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())
