"""Accepts connections and runs an ASGI application on them until a signal stops it.

uvicorn serves each connection; which are accepted, and how many, is decided here. Knows
sockets, signals and uvicorn. Does not know the application.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from productsearch_engine.limits import (
    ACCEPT_LAST_S,
    CONNECTIONS_MAX,
    DESCRIPTORS_KEPT,
    KEEP_ALIVE_S,
    STOP_GRACE_S,
    WRITE_STALL_S,
)
from productsearch_engine.server.connections import Connection, Connections
from productsearch_engine.settings import SettingsError

_log = logging.getLogger(__name__)

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_CLIENT_GONE = (errno.ECONNABORTED, errno.EPROTO)
_PAUSE_S = 0.1


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a listening socket. Raises SettingsError if the address cannot be opened."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        made = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        why = (
            "is taken; end the program that listens there"
            if error.errno == errno.EADDRINUSE
            else f"cannot be opened ({os.strerror(error.errno or 0)})"
        )
        raise SettingsError(
            f"listen: {_shown(host)}:{port} {why}, or give another address with --listen"
        ) from None
    with made as listener:
        # Its connections inherit the option. asyncio sets it only on sockets that have an
        # explicit protocol number; without it an answer's body waits 40 ms for the
        # acknowledgement of its head.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # An answer that the kernel holds whole is none that uvicorn knows to be unread.
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            stall_ms = int(1000 * WRITE_STALL_S)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, stall_ms)
        yield listener


def run(application: ASGIApp, listener: socket.socket) -> None:
    """Print the address and answer calls until SIGTERM or SIGINT.

    Calls in flight are finished first; a second SIGINT does not wait for them.
    """
    server = _Server(
        uvicorn.Config(
            application,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_GRACE_S,
        )
    )
    # uvicorn raises the signal that stopped it once more when it ends. With these handlers
    # the repeated signal does not end the process before the database is closed.
    on_stop_signal(lambda: setattr(server, "should_exit", True))
    host, port = listener.getsockname()[:2]
    print(f"listening on http://{_shown(host)}:{port}", flush=True)
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(_serve(server, listener))


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class _Server(uvicorn.Server):
    """uvicorn's server, which ends connections only once the last one was accepted."""

    door: Door

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept what waits in the listener, close that, and stop as uvicorn does."""
        await self.door.close()
        await super().shutdown(sockets)


async def _serve(server: _Server, listener: socket.socket) -> None:
    """Let uvicorn serve the connections that are accepted here, and stop both together."""
    connections = Connections(_places())
    server.door = Door(server, listener, connections)
    closing = asyncio.create_task(_close_overdue(connections))
    try:
        await server.serve(sockets=[])
    finally:
        await server.door.close()
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)


class Door:
    """Accepts connections while there is a place for them; until then they wait in the listener.

    asyncio's own listener goes on when the process is out of descriptors: it fails thousands of
    times a second, and writes a line for each.
    """

    def __init__(self, server: uvicorn.Server, listener: socket.socket, connections: Connections):
        """Begin to accept."""
        listener.setblocking(False)
        self._server = server
        self._listener = listener
        self._connections = connections
        self._somebody_waits = asyncio.Event()
        self._closing = False
        self._accepting = asyncio.create_task(self._accept())

    async def close(self) -> None:
        """Accept who waits already, for a few seconds at most, and close the listener.

        The kernel has told them that they are connected, and they may have sent a request: to
        close the listener resets them.
        """
        self._closing = True
        self._somebody_waits.set()
        await asyncio.wait([self._accepting], timeout=ACCEPT_LAST_S)
        self._accepting.cancel()
        await asyncio.gather(self._accepting, return_exceptions=True)
        self._listener.close()

    async def _accept(self) -> None:
        while True:
            if self._connections.are_full and not self._connections.close_one():
                await asyncio.sleep(_PAUSE_S)
                continue
            try:
                accepted, _ = self._listener.accept()
            except BlockingIOError:
                if self._closing:
                    return
                await self._wait()
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._connections.close_one()
                # accept(2) may tell any error of the network; of those only a client that has gone
                # is no trouble. None of them ends the listener, and none makes it spin.
                if error.errno not in _CLIENT_GONE:
                    _log.error("no connection can be accepted: %s", error.strerror)
                await asyncio.sleep(0 if error.errno in _CLIENT_GONE else _PAUSE_S)
            else:
                await self._serve(accepted)

    async def _wait(self) -> None:
        """Wait for somebody who wants to be accepted, or for the end."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._listener, self._somebody_waits.set)
        try:
            await self._somebody_waits.wait()
        finally:
            loop.remove_reader(self._listener)
        if not self._closing:
            self._somebody_waits.clear()

    async def _serve(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._connection, accepted)
        except OSError as error:
            accepted.close()
            _log.error("a connection cannot be served: %s", error.strerror)

    def _connection(self) -> Connection:
        return Connection(
            self._connections,
            config=self._server.config,
            server_state=self._server.server_state,
            app_state={},
        )


async def _close_overdue(connections: Connections) -> None:
    while True:
        await asyncio.sleep(1)
        connections.close_overdue()


def _places() -> int:
    """Return how many connections may be open, by what the process may open at all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + DESCRIPTORS_KEPT
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(soft - DESCRIPTORS_KEPT, soft // 4)
    return CONNECTIONS_MAX


def on_stop_signal(act: Callable[[], object]) -> None:
    """Call ``act`` at SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: act())
