"""grpc.health.v1: what this service says under which name, its own port, and asking another one.

The admin port serves health, reflection and channelz. It has threads of its own and answers while
the event loop is busy. It is plaintext, and open to whoever reaches it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any, Final

import grpc
from grpc_channelz.v1 import channelz  # type: ignore[import-untyped] # it has no types
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from productsearch_service import limits
from productsearch_service.observability.admin_calls import AdminCalls, AdminThreads

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN: Final = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
_LIVENESS: Final = "liveness"
_CHANNELZ: Final = "grpc.channelz.v1.Channelz"
UNREACHABLE: Final = "UNREACHABLE"


class LoopHealth(health_pb2_grpc.HealthServicer):
    """The health service on the event loop, where strangers may watch and never read the answers.

    That of grpc_health writes to each watcher while it holds what a change of state needs, and
    keeps every name that was asked for.
    """

    def __init__(self) -> None:
        self._statuses: dict[str, int] = {}
        self._changed = asyncio.Event()

    def set(self, name: str, status: int) -> None:
        """Set the state of a name, and send it to those who watch that name."""
        self._statuses[name] = status
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> health_pb2.HealthCheckResponse:
        """Answer with the state of a name; NOT_FOUND for a name that has none."""
        if request.service not in self._statuses:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return health_pb2.HealthCheckResponse(status=self._statuses[request.service])

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:  # noqa: N802
        """Write the state of a name, and each one that it changes to; a late reader skips some."""
        told = None
        while True:
            changed = self._changed
            status = self._statuses.get(request.service, _UNKNOWN)
            if status != told:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                told = status
            await changed.wait()


class ThreadsHealth(health_pb2_grpc.HealthServicer):
    """The health service in threads; the event loop sets its states.

    Whoever watches and does not read holds up a thread of the watchers. With grpc_health it would
    hold up who sets the state: the event loop.
    """

    def __init__(self) -> None:
        self._statuses: dict[str, int] = {}
        self._changed = threading.Condition()

    def set(self, name: str, status: int) -> None:
        """Set the state of a name, and send it to those who watch that name."""
        with self._changed:
            self._statuses[name] = status
            self._changed.notify_all()

    def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> health_pb2.HealthCheckResponse:
        """Answer with the state of a name; NOT_FOUND for a name that has none."""
        with self._changed:
            status = self._statuses.get(request.service)
        if status is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return health_pb2.HealthCheckResponse(status=status)

    def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> Iterator[health_pb2.HealthCheckResponse]:
        """Yield the state of a name, and each one that it changes to; a late reader skips some."""
        told: int | None = None

        def is_due() -> bool:
            return self._status(request.service) != told or not context.is_active()

        context.add_callback(self._wake)
        while context.is_active():
            with self._changed:
                self._changed.wait_for(is_due)
                told = self._status(request.service)
            yield health_pb2.HealthCheckResponse(status=told)

    # By this name gRPC finds the threads of a method that has its own.
    watching = AdminThreads(limits.ADMIN_WATCHERS_MAX, "watch")
    Watch.experimental_thread_pool = watching  # type: ignore[attr-defined]

    def _status(self, name: str) -> int:
        return self._statuses.get(name, _UNKNOWN)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


class Health:
    """The health service, twice: for the event loop, and for the threads of the admin port.

    "" and the service's name mean readiness, ``liveness`` the process.
    """

    def __init__(self, service: str) -> None:
        self.on_loop = LoopHealth()
        self._readiness = ("", service)
        self.in_threads = ThreadsHealth()
        self.reflected = (service, health.SERVICE_NAME)
        """The services of the service's own port that reflection describes."""
        self.reflected_by_admin = (*self.reflected, _CHANNELZ)
        self._stopping = self._ready = False
        self._in_time = True
        self._lock = threading.Lock()
        for name in self._readiness:
            self.in_threads.set(name, _NOT_SERVING)
        self.in_threads.set(_LIVENESS, _SERVING)

    def admin_server(self) -> grpc.Server:
        """Return the server of the admin port; it has no port and no reflection yet."""
        threads = AdminThreads(limits.ADMIN_THREADS, "admin")
        server = grpc.server(
            threads,
            interceptors=[AdminCalls(threads, ThreadsHealth.watching)],
            options=(
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", limits.BYSTANDER_BYTES_MAX),
                ("grpc.max_concurrent_streams", limits.ADMIN_STREAMS_MAX),
                ("grpc.server_handshake_timeout_ms", limits.HANDSHAKE_TIMEOUT_MS),
                ("grpc.max_connection_idle_ms", limits.ADMIN_IDLE_MS),
            ),
        )
        health_pb2_grpc.add_HealthServicer_to_server(self.in_threads, server)
        channelz.add_channelz_servicer(server)
        return server

    async def start(self) -> None:
        """Set the first states on the event loop: not ready yet, and alive."""
        await self.tell_ready(False)
        self.on_loop.set(_LIVENESS, _SERVING)

    async def tell_ready(self, ready: bool) -> None:
        """Set whether this replica should get calls; once it is stopping, it stays not ready."""
        with self._lock:
            self._ready = ready and not self._stopping
            self._tell_threads()
        for name in self._readiness:
            self.on_loop.set(name, _SERVING if self._ready else _NOT_SERVING)

    def tell_loop(self, alive: bool, in_time: bool) -> None:
        """Set how the event loop does, on the admin port alone: a stuck loop cannot say so."""
        self.in_threads.set(_LIVENESS, _SERVING if alive else _NOT_SERVING)
        with self._lock:
            self._in_time = in_time
            self._tell_threads()

    def _tell_threads(self) -> None:
        status = _SERVING if self._ready and self._in_time else _NOT_SERVING
        for name in self._readiness:
            self.in_threads.set(name, status)

    async def stop(self) -> None:
        """Set this replica not ready, for good."""
        self._stopping = True
        await self.tell_ready(False)


def ask(address: str, service: str = "", timeout_s: float = limits.REACHABILITY_TIMEOUT_S) -> str:
    """Return what a server at ``address`` says of a service, empty: of all of its own.

    ``UNREACHABLE``: nobody answers, or whoever does has no such service.
    """
    # A proxy that the environment names is not asked: the ports are this machine's or pod's own.
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)  # its types lack the methods
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_s)
        except grpc.RpcError:
            return UNREACHABLE
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
