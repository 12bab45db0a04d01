"""Builds the engine from its settings and runs it.

Database and migrations come before the first call. Everything that is opened here is closed
in the reverse order once the listener has stopped.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from productsearch_engine import traces
from productsearch_engine.api.app import Api
from productsearch_engine.api.apps import Apps
from productsearch_engine.api.auth import Tokens
from productsearch_engine.api.calls import Calls
from productsearch_engine.console.app import Console
from productsearch_engine.console.rooms import Rooms, Stores
from productsearch_engine.database import tuning
from productsearch_engine.database.pool import open_pool
from productsearch_engine.embedding.load import is_known
from productsearch_engine.images.download import Downloader
from productsearch_engine.limits import (
    JOURNAL_LOOK_S,
    NEAREST_LOOK_S,
    RECALL_LOOK_S,
    RECALL_TIME_SHARE,
    REEMBEDDING_LOOK_S,
    SEARCH_COUNTS_WRITTEN_S,
    STATES_LOOK_S,
)
from productsearch_engine.metrics import Metrics
from productsearch_engine.server import listener
from productsearch_engine.server.background import repeating
from productsearch_engine.server.database_states import DatabaseStates
from productsearch_engine.server.operations import Operations
from productsearch_engine.server.recall_checks import RecallChecks
from productsearch_engine.server.signing_key import read_signing_key
from productsearch_engine.settings import Settings, SettingsError
from productsearch_engine.store.app_keys import AppKeys
from productsearch_engine.store.class_changes import ClassChanges
from productsearch_engine.store.class_indexes import ClassIndexes
from productsearch_engine.store.delete_lag import DeleteLag
from productsearch_engine.store.details import Details
from productsearch_engine.store.dismissals import Dismissals
from productsearch_engine.store.ended_sessions import EndedSessions
from productsearch_engine.store.gallery import Gallery
from productsearch_engine.store.images import Images
from productsearch_engine.store.journal import Journal
from productsearch_engine.store.libraries import Libraries
from productsearch_engine.store.nearest_builds import NearestBuilds
from productsearch_engine.store.overview import Overviews
from productsearch_engine.store.pins import Pins
from productsearch_engine.store.queries import Queries
from productsearch_engine.store.quotas import Quotas
from productsearch_engine.store.recall import RecallSample
from productsearch_engine.store.reembeddings import Reembeddings
from productsearch_engine.store.renewals import Renewals
from productsearch_engine.store.search_counts import SearchCounts
from productsearch_engine.store.second_search import SecondSearch
from productsearch_engine.store.users import Users
from productsearch_engine.store.warming import Warming
from productsearch_engine.threads import started as all_started
from productsearch_engine.traces import Export
from productsearch_engine.workers.pool import started

_log = logging.getLogger(__name__)
_UNKNOWN_TOLD = 100


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; a second SIGINT does not wait for calls in flight.

    Raises SettingsError (also where the address is taken), UnknownEmbeddingError, EmbeddedError,
    psycopg.Error, and OSError: the first worker process did not start.
    """
    listener.on_stop_signal(lambda: sys.exit(0))
    with listener.listening(settings.host, settings.port) as listening:
        # An engine that cannot listen leaves no key behind.
        _serve(settings, read_signing_key(settings), listening)


def _serve(settings: Settings, key: bytes, listening: socket.socket) -> None:
    tokens = Tokens(key)
    if settings.database and settings.signing_key_file.parent == settings.data:
        _log.warning("the signing key is this host's own; replicas need one signing_key_file")
    metrics = Metrics()

    def stage(name: str, seconds: float, ago_s: float = 0.0) -> None:
        metrics.stage(name, seconds)
        traces.stage(name, seconds, ago_s)

    with (
        _exporting(settings.traces_endpoint, metrics) as export,
        started(settings.embedding, settings.decoders, stage) as workers,
        open_pool(settings, settings.workers) as pool,
        all_started(settings.workers, "work") as threads,
        ExitStack() as background,
    ):
        pool.stage = stage
        class_indexes, searches = ClassIndexes(), SearchCounts(pool)
        sample, states = RecallSample(pool), DatabaseStates(pool)
        for work in (
            _completing(
                NearestBuilds(
                    pool,
                    class_indexes=class_indexes,
                    shortage=pool.watch.shortage,
                    memory_bytes=tuning.index_memory_bytes(settings),
                )
            ),
            _dropping(Reembeddings(pool)),
            _forgetting(Journal(pool), Pins(pool)),
            _counting(searches),
            _checking(RecallChecks(sample, pool, metrics)),
            _looking(states),
            *([] if settings.database else [_warming(Warming(pool, tuning.memory_bytes() // 2))]),
        ):
            background.enter_context(work)
        metrics.registry.register(states)
        libraries, keys = Libraries(pool), AppKeys(pool)
        stored = Images(pool, sample=sample, class_indexes=class_indexes)
        _log_unknown(libraries)
        apps = Apps(libraries=libraries, quotas=Quotas(pool), threads=threads)
        calls = Calls(
            apps=apps,
            stored=stored,
            workers=workers,
            threads=threads,
            watch=pool.watch,
            searches=searches,
            found=DeleteLag(pool, stored),
            rerank=settings.rerank,
        )
        api = Api(
            keys=keys,
            apps=apps,
            calls=calls,
            tokens=tokens,
            downloader=Downloader(allow_private=settings.allow_private_urls),
            metrics=metrics,
            threads=threads,
            export=export,
            access_log_successes=settings.access_log_successes,
        )
        operations = Operations(pool.watch, metrics)
        stores = Stores(
            libraries=libraries,
            keys=keys,
            images=stored,
            gallery=Gallery(pool),
            journal=Journal(pool),
            details=Details(pool),
            users=Users(pool),
            ended_sessions=EndedSessions(pool),
            queries=Queries(pool),
            pins=Pins(pool),
            class_changes=ClassChanges(pool),
            dismissals=Dismissals(pool),
            renewals=Renewals(pool),
            overviews=Overviews(pool),
            reembeddings=Reembeddings(pool),
            second_search=SecondSearch(pool),
        )
        rooms = Rooms(api=api, calls=calls, workers=workers, threads=threads, stores=stores)
        console = Console(rooms, key)
        routes = [*api.routes(), *operations.routes(), *console.routes(), Route("/", _to_console)]
        listener.run(Starlette(routes=routes), listening)


def _completing(builds: NearestBuilds) -> AbstractContextManager[None]:
    name = "completing tables of prefixes"
    return repeating(name, builds.look, NEAREST_LOOK_S, interrupt=builds.interrupt)


def _warming(warming: Warming) -> AbstractContextManager[None]:
    """Read once, at the start."""

    def read(stopped: Callable[[], bool]) -> None:
        began_s = time.monotonic()
        read_bytes = warming.read(stopped)
        took_s = time.monotonic() - began_s
        _log.info("read %d MB that searches need in %.1f s", read_bytes >> 20, took_s)

    return repeating("reading what searches need", read, threading.TIMEOUT_MAX)


def _dropping(reembeddings: Reembeddings) -> AbstractContextManager[None]:
    name = "dropping the vectors of earlier embeddings"
    return repeating(name, lambda _: reembeddings.drop_old(), REEMBEDDING_LOOK_S)


def _forgetting(journal: Journal, pins: Pins) -> AbstractContextManager[None]:
    def forget(_: Callable[[], bool]) -> None:
        journal.forget_old()
        pins.forget_old()

    return repeating("forgetting what can be undone no more", forget, JOURNAL_LOOK_S)


def _counting(searches: SearchCounts) -> AbstractContextManager[None]:
    name = "writing the counts of searches"
    return repeating(name, lambda _: searches.write(), SEARCH_COUNTS_WRITTEN_S, at_end=True)


def _checking(checks: RecallChecks) -> AbstractContextManager[None]:
    return repeating(
        "repeating a search exactly",
        lambda _: checks.look(),
        RECALL_LOOK_S,
        share=RECALL_TIME_SHARE,
        failure_level=logging.DEBUG,
    )


def _looking(states: DatabaseStates) -> AbstractContextManager[None]:
    # Whoever watches the database tells the cause; the states that were seen before are kept.
    name = "reading the states of the database"
    return repeating(name, lambda _: states.look(), STATES_LOOK_S, failure_level=logging.DEBUG)


@contextmanager
def _exporting(endpoint: str, metrics: Metrics) -> Iterator[Export | None]:
    """Yield what sends a call's spans to a collector; None without one. Raises SettingsError."""
    if not endpoint:
        yield None
        return
    try:
        from productsearch_engine.server.spans import Spans
    except ModuleNotFoundError:
        raise SettingsError(
            "traces_endpoint: needs OpenTelemetry: pip install './engine[traces]'"
        ) from None
    spans = Spans.to(endpoint, metrics.spans)
    try:
        yield spans.export
    finally:
        spans.close()


async def _to_console(_request: Request) -> Response:
    return RedirectResponse("/console/")


def _log_unknown(libraries: Libraries) -> None:
    unknown = []
    for library in libraries.list():
        if not is_known(library.embedding):
            unknown.append(f"library {library.name!r} was built with embedding {library.embedding}")
    if unknown:  # in one line: the log lets one of a kind pass in a second
        _log.error(
            "%s%s: this server does not have these, calls are refused with error 990002",
            "; ".join(unknown[:_UNKNOWN_TOLD]),
            f" and {more} more" if (more := len(unknown) - _UNKNOWN_TOLD) > 0 else "",
        )
