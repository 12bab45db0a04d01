"""Composes the engine from its settings and runs it until it is told to stop.

Answers for the order of things: database and migrations before the first call, one line
on stdout once calls are answered, calls in flight finished before the end.
"""

from __future__ import annotations

import logging
import signal
import socket
import sys
from collections.abc import Callable

import uvicorn

from productsearch_engine.api.app import Engine
from productsearch_engine.api.auth import Tokens
from productsearch_engine.api.calls import Calls
from productsearch_engine.database.pool import open_pool
from productsearch_engine.embedding import Embedding, load
from productsearch_engine.images.download import Fetcher
from productsearch_engine.limits import KEEP_ALIVE_S, STOP_GRACE_S
from productsearch_engine.settings import Settings, signing_key
from productsearch_engine.store.images import Images
from productsearch_engine.store.libraries import Libraries

_log = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; a second SIGINT does not wait for calls in flight.

    Raises SettingsError, EmbeddedError, OSError (the address is taken), psycopg.Error.
    """
    _on_stop(lambda: sys.exit(0))
    embedding = load(settings.embedding)
    tokens = Tokens(signing_key(settings))
    if settings.database and settings.signing_key_file.parent == settings.data:
        _log.warning("the signing key is this host's own; replicas need one signing_key_file")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with (
        socket.create_server((settings.host, settings.port), family=family, backlog=512) as door,
        open_pool(settings, settings.workers + 1) as pool,
    ):
        # Inherited by its connections. asyncio sets it only on sockets made with an explicit
        # protocol number; without it an answer's body waits 40 ms for its head's receipt.
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        libraries = Libraries(pool)
        _report_mismatches(libraries, embedding)
        engine = Engine(
            pool=pool,
            libraries=libraries,
            calls=Calls(libraries, Images(pool), embedding),
            tokens=tokens,
            fetcher=Fetcher(allow_private=settings.allow_private_urls),
            workers=settings.workers,
        )
        _run(engine, door)


def _run(engine: Engine, door: socket.socket) -> None:
    server = uvicorn.Server(
        uvicorn.Config(
            engine.application(),
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
    # uvicorn raises the signal that stopped it once more at its end: with these handlers
    # that does not end the process before the database was let go.
    _on_stop(lambda: setattr(server, "should_exit", True))
    host, port = door.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"listening on http://{shown}:{port}", flush=True)
    server.run(sockets=[door])


def _on_stop(act: Callable[[], object]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: act())


def _report_mismatches(libraries: Libraries, embedding: Embedding) -> None:
    for library in libraries.list():
        if library.embedding != embedding.name:
            _log.error(
                "library %r was built with embedding %s, this server has %s: its calls are"
                " refused with error 990002",
                library.name,
                library.embedding,
                embedding.name,
            )
