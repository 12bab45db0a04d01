"""Runs an ASGI application on a socket until a signal stops it.

Knows sockets, signals and uvicorn. Does not know the application.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from productsearch_engine.limits import KEEP_ALIVE_S, STOP_GRACE_S


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a listening socket. Raises OSError if the address is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=512) as listener:
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
            http="httptools",
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
    shown = f"[{host}]" if ":" in host else host
    print(f"listening on http://{shown}:{port}", flush=True)
    server.run(sockets=[listener])


def on_stop_signal(act: Callable[[], object]) -> None:
    """Call ``act`` at SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: act())
