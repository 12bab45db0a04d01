"""Facades that are looked into from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from productsearch_service import limits
from productsearch_service.settings import Settings
from tests.calls.watching import Watched, until
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream

WatchedFactory = Callable[..., Watched]


@pytest.fixture(autouse=True)
def answers_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep back 100 ms of each deadline for the answer, not 20: these machines are slow at times.

    Where a test is about what a caller is told at its deadline, it must be told.
    """
    monkeypatch.setattr(limits, "DEADLINE_SHAVE_S", 0.1)


@pytest.fixture
def watched(upstream: FakeUpstream) -> Iterator[WatchedFactory]:
    """Return a function that starts a facade which is ready, and has its token.

    Keywords are settings of its libraries; ``libraries`` names these, with changes for each.
    It believes what ``forwarded_for`` says of a caller.
    """
    closers: list[Callable[[], Any]] = []

    def start(libraries: dict[str, dict[str, Any]] | None = None, **changes: Any) -> Watched:
        library = {"base_url": upstream.url, "api_key": "the-api-key", "quota_qps": 0}
        library |= {"secret_key": "the-secret-key"} | changes
        named = libraries or {"default": {}}
        settings = Settings(
            listen="127.0.0.1:0",
            admin_listen="127.0.0.1:0",
            metrics_listen="127.0.0.1:0",
            libraries={name: library | own for name, own in named.items()},
            default_library=next(iter(named)),
            sidecars=("127.0.0.0/8",),
            drain_delay_s=0,
            drain_grace_s=0,
        )
        server = Server(settings, with_admin=True)
        server.start()
        closers.append(lambda: server.stop(None))
        address = f"127.0.0.1:{server.port}"
        channel = grpc.insecure_channel(address, options=[("grpc.enable_retries", 0)])
        closers.append(channel.close)
        facade = Watched(server, channel)
        until(lambda: facade.readyz() == 200)
        return facade

    yield start
    for close in reversed(closers):
        close()
