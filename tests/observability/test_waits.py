"""Waits that most calls do not have are counted and told, so that a slow call has a culprit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from productsearch import v1
from productsearch_service.settings import Settings
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream, Fault, error
from tests.lifecycle.asking import until
from tests.observability.test_lines import Lines, lines
from tests.pictures import jpeg

__all__ = ["lines"]

Play = Callable[[FakeUpstream, v1.ProductSearchStub], None]


@contextmanager
def _facade(upstream: FakeUpstream) -> Iterator[tuple[Server, v1.ProductSearchStub]]:
    library: dict[str, Any] = {"base_url": upstream.url, "api_key": "a-key", "quota_qps": 0}
    library["secret_key"] = "a-secret"
    told: dict[str, Any] = {"libraries": {"default": library}}
    told |= dict.fromkeys(("listen", "admin_listen", "metrics_listen"), "127.0.0.1:0")
    server = Server(Settings(**told), with_admin=True)
    server.start()
    try:
        with v1.connect(f"127.0.0.1:{server.port}") as channel:
            yield server, v1.ProductSearchStub(channel)
    finally:
        server.stop()


def _search(stub: v1.ProductSearchStub, *, fit: bool = False) -> None:
    image = v1.ImageSource(content=jpeg(1, 320, 320), fit=fit)
    stub.SearchImages(v1.SearchImagesRequest(image=image), timeout=20)


def _waited(server: Server, wait: str) -> float:
    registry = server.service._counters.registry
    found = registry.get_sample_value("productsearch_call_waits_seconds_total", {"wait": wait})
    return found or 0.0


def _token(upstream: FakeUpstream, stub: v1.ProductSearchStub) -> None:
    upstream.then("search", error(110, "Access token invalid or no longer valid"))
    good = b'{"access_token": "24.late", "expires_in": 2592000}'
    upstream.then("token", Fault(seconds=0.3, body=good))
    _search(stub)


def _retry(upstream: FakeUpstream, stub: v1.ProductSearchStub) -> None:
    upstream.then("search", error(18))
    _search(stub)


def _fit(_: FakeUpstream, stub: v1.ProductSearchStub) -> None:
    _search(stub, fit=True)


@pytest.mark.parametrize(("wait", "play"), [("token", _token), ("retry", _retry), ("fit", _fit)])
def test_the_wait_is_counted_and_in_the_line(
    upstream: FakeUpstream, lines: Lines, wait: str, play: Play
) -> None:
    """Where the time of a call went that neither the quota nor the upstream took."""
    with _facade(upstream) as (server, stub):
        _search(stub)
        lines.last()
        before = _waited(server, wait)
        play(upstream, stub)
        until(lambda: _waited(server, wait) > before, f"seconds of {wait}")
        line = lines.last(2)
        assert line[f"{wait}_ms"] > 0
        parts = ("place", "fit", "quota", "token", "retry", "upstream")
        assert sum(line[f"{part}_ms"] for part in parts) <= line["ms"] + 1


def test_ordinary_calls_have_none(upstream: FakeUpstream, lines: Lines) -> None:
    """Nothing is counted for them, nor for one that is refused."""
    with _facade(upstream) as (server, stub):
        until(lambda: server.service._readiness.ready, "a token")
        _search(stub)
        with pytest.raises(grpc.RpcError):
            stub.SearchImages(v1.SearchImagesRequest(), timeout=20)
        assert 0 == sum(_waited(server, wait) for wait in ("place", "fit", "token", "retry"))
        assert 0 == lines.last(2)["fit_ms"]
