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
    CONNECTIONS_MAX,
    DESCRIPTORS_KEPT,
    KEEP_ALIVE_S,
    STOP_GRACE_S,
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
        yield listener


def run(application: ASGIApp, listener: socket.socket) -> None:
    """Print the address and answer calls until SIGTERM or SIGINT.

    Calls in flight are finished first; a second SIGINT does not wait for them.
    """
    server = uvicorn.Server(
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


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    """Let uvicorn serve the connections that are accepted here, and stop both together."""
    connections = Connections(_places())
    accepting = asyncio.create_task(_accept(server, listener, connections))
    others = [
        asyncio.create_task(_close_overdue(connections)),
        asyncio.create_task(_stop_accepting(server, listener, connections, accepting)),
    ]
    try:
        await server.serve(sockets=[])
    finally:
        for task in (accepting, *others):
            task.cancel()
        await asyncio.gather(accepting, *others, return_exceptions=True)


async def _accept(
    server: uvicorn.Server, listener: socket.socket, connections: Connections
) -> None:
    """Accept connections while there is a place for them; until then they wait in the listener.

    asyncio's own listener goes on when the process is out of descriptors: it fails thousands of
    times a second, and writes a line for each.
    """
    loop = asyncio.get_running_loop()
    listener.setblocking(False)

    def protocol() -> Connection:
        return Connection(
            connections, config=server.config, server_state=server.server_state, app_state={}
        )

    while True:
        if connections.are_full and not connections.close_one():
            await asyncio.sleep(_PAUSE_S)
            continue
        try:
            accepted, _ = await loop.sock_accept(listener)
        except OSError as error:
            if error.errno in _EXHAUSTED:
                connections.close_one()
            # accept(2) may tell any error of the network; of those only a client that has gone
            # is no trouble. None of them ends the listener, and none makes it spin.
            if error.errno not in _CLIENT_GONE:
                _log.error("no connection can be accepted: %s", error.strerror)
            await asyncio.sleep(0 if error.errno in _CLIENT_GONE else _PAUSE_S)
            continue
        try:
            await loop.connect_accepted_socket(protocol, accepted)
        except OSError as error:
            accepted.close()
            _log.error("a connection cannot be served: %s", error.strerror)


async def _close_overdue(connections: Connections) -> None:
    while True:
        await asyncio.sleep(1)
        connections.close_overdue()


async def _stop_accepting(
    server: uvicorn.Server,
    listener: socket.socket,
    connections: Connections,
    accepting: asyncio.Task[None],
) -> None:
    """Refuse new connections as soon as the server is told to stop, and end the idle ones."""
    while not server.should_exit:
        await asyncio.sleep(_PAUSE_S)
    accepting.cancel()
    await asyncio.gather(accepting, return_exceptions=True)
    listener.close()
    # uvicorn tells those that it knew when it began to stop.
    connections.shut_down()


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
