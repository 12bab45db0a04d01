"""A fake upstream, and facades in front of any upstream, for every test that asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from productsearch.v1 import ProductSearchStub, connect
from productsearch_service.server import Server
from productsearch_service.settings import Settings
from tests.fakes.upstream import FakeUpstream

FacadeFactory = Callable[..., ProductSearchStub]


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    """Return a fake upstream that behaves until told otherwise."""
    with FakeUpstream() as fake:
        yield fake


@pytest.fixture
def facade(upstream: FakeUpstream) -> Iterator[FacadeFactory]:
    """Return a function that starts a facade and returns a stub connected to it.

    Keywords are settings; ``library`` holds changes to those of the only library, whose
    upstream is the fake one unless it says otherwise.
    """
    closers: list[Callable[[], Any]] = []

    def start(library: dict[str, Any] | None = None, **settings: Any) -> ProductSearchStub:
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
                | settings
            )
        )
        server.start()
        closers.append(lambda: server.stop(threading.Event()))
        channel = connect(f"127.0.0.1:{server.port}")
        closers.append(channel.close)
        return ProductSearchStub(channel)

    yield start
    for close in reversed(closers):
        close()


@pytest.fixture
def stub(facade: FacadeFactory) -> ProductSearchStub:
    """Return a stub of a facade with default settings in front of the fake upstream."""
    return facade()
