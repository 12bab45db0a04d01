"""A fake upstream, real engines, and facades in front of either, for every test that asks."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, settings

from demo.processes import Engine
from productsearch.v1 import ProductSearchStub, connect
from productsearch_engine import settings as engine_settings
from productsearch_engine.database.pool import open_pool
from productsearch_engine.embedding.load import DEFAULT, load
from productsearch_engine.store.libraries import Libraries
from productsearch_service.settings import Settings
from tests.engine.databases import given, settings_of
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream

# These machines are slow at times; hypothesis would take that for a defect.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")

ServerFactory = Callable[..., Server]
FacadeFactory = Callable[..., ProductSearchStub]

_numbers = itertools.count(1)
_OWN_FOLDER = pytest.StashKey[Path]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give each run a folder of its own for temporary files.

    pytest's own folder is shared by all runs, and each that begins takes it from other accounts: a
    PostgreSQL under way, which root runs as another one, can no longer enter it.
    """
    if config.option.basetemp is None and not hasattr(config, "workerinput"):
        config.option.basetemp = Path(tempfile.mkdtemp(prefix="productsearch-"))
        config.stash[_OWN_FOLDER] = config.option.basetemp


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Take the folder away again, unless somebody wants to know what failed."""
    own = session.config.stash.get(_OWN_FOLDER, None)
    if own is not None and exitstatus == pytest.ExitCode.OK:
        shutil.rmtree(own, ignore_errors=True)


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """Return an engine with the default settings, over its own PostgreSQL or the one given."""
    with Engine(environment=given()) as running:
        yield running


@pytest.fixture(scope="session")
def open_engine() -> Iterator[Engine]:
    """Return an engine that also downloads from private addresses."""
    with Engine(environment={"PRODUCTSEARCH_ENGINE_ALLOW_PRIVATE_URLS": "true"}) as running:
        yield running


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    """Return a fake upstream that behaves until told otherwise."""
    with FakeUpstream() as fake:
        yield fake


@pytest.fixture
def server(upstream: FakeUpstream) -> Iterator[ServerFactory]:
    """Return a function that starts a facade in this process.

    Keywords are settings; ``library`` holds changes to those of the only library, whose
    upstream is the fake one unless it says otherwise.
    """
    closers: list[Callable[[], Any]] = []

    def start(library: dict[str, Any] | None = None, **changes: Any) -> Server:
        only = {"base_url": upstream.url, "api_key": "the-api-key", "quota_qps": 0}
        only |= {"secret_key": "the-secret-key"} | (library or {})
        server = Server(
            Settings(
                **{
                    "listen": "127.0.0.1:0",
                    "libraries": {"default": only},
                    "drain_delay_s": 0,
                    "drain_grace_s": 1,
                }
                | changes
            )
        )
        server.start()
        closers.append(lambda: server.stop(threading.Event()))
        return server

    yield start
    for close in reversed(closers):
        close()


@pytest.fixture
def facade(server: ServerFactory) -> Iterator[FacadeFactory]:
    """Return a function that starts a facade and returns a stub connected to it.

    It takes what ``server`` takes.
    """
    channels: list[grpc.Channel] = []

    def start(library: dict[str, Any] | None = None, **changes: Any) -> ProductSearchStub:
        channels.append(connect(f"127.0.0.1:{server(library, **changes).port}"))
        return ProductSearchStub(channels[-1])

    yield start
    for channel in channels:
        channel.close()


@pytest.fixture
def over_engine(engine: Engine, facade: FacadeFactory) -> ProductSearchStub:
    """Return a stub of a facade in front of the engine, with a library of the test's own."""
    return facade(library_of(engine))


def library_of(engine: Engine, *options: str) -> dict[str, str]:
    """Create a library in the engine (`library create` options) and return its settings."""
    name = f"facade-{next(_numbers)}"
    api_key, secret_key = engine.create_library(name, *options) if options else _made(engine, name)
    pair = {"api_key": api_key, "secret_key": secret_key}
    return {"base_url": engine.url, "upstream": "engine", **pair}


def _made(engine: Engine, name: str) -> tuple[str, str]:
    """Do what `library create` does, without starting Python for every test."""
    embedding = load(DEFAULT)
    own = engine_settings.load(settings_of(engine), {"data": str(engine.data)})
    with open_pool(own, 1) as pool:
        made = Libraries(pool).create(
            name,
            capacity=500_000,
            embedding=embedding.name,
            dimensions=embedding.dimensions,
            api_key=None,
        )
    assert made.secret_key
    return made.api_key, made.secret_key


@pytest.fixture
def stub(facade: FacadeFactory) -> ProductSearchStub:
    """Return a stub of a facade with default settings in front of the fake upstream."""
    return facade()
