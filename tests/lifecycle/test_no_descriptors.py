"""A replica that has no descriptors left: probes are answered all the same."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from demo.facade import Facade
from tests.fakes.upstream import FakeUpstream
from tests.lifecycle.asking import http_at, until, until_ready

QUICK = {"PRODUCTSEARCH_DRAIN_DELAY_S": "0", "PRODUCTSEARCH_DRAIN_GRACE_S": "1"}
PATIENCE_S = 4.0
"""Less than the time after which gRPC ends connections that say nothing."""
MORE = 8


@pytest.fixture
def process(upstream: FakeUpstream, tmp_path: Path) -> Iterator[Facade]:
    """Return a running service in front of the fake upstream, ready."""
    with Facade(tmp_path, upstream.url, {"default": ("k", "s")}, environment=QUICK) as running:
        until_ready(running)
        yield running


def _numbers(pid: int) -> set[int]:
    return {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}


@contextmanager
def without_descriptors(process: Facade) -> Iterator[None]:
    """Connect to the service until it can accept no more; then allow it as many as before."""
    before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    most = max(_numbers(process.pid)) + MORE
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (most, before[1]))
    host, _, port = process.url.rpartition(":")
    with ExitStack() as stack:
        stack.callback(resource.prlimit, process.pid, resource.RLIMIT_NOFILE, before)

        def full() -> bool:
            line = stack.enter_context(socket.create_connection((host, int(port)), 10))
            line.settimeout(10)
            time.sleep(0.02)
            return len({each for each in _numbers(process.pid) if each < most}) >= most

        until(full, "all descriptors are taken")
        yield


def test_probes_are_answered_without_descriptors(process: Facade) -> None:
    """Alive, again and again; a scrape too."""
    with without_descriptors(process):
        for _ in range(20):
            assert (200, "alive\n") == http_at(process.metrics, "/livez", PATIENCE_S)
        assert 200 == http_at(process.metrics, "/metrics", PATIENCE_S)[0]
        assert http_at(process.metrics, "/readyz", PATIENCE_S)[0] in (200, 503)
    until_ready(process)


def test_clients_that_say_nothing_do_not_use_up_the_reserve(process: Facade) -> None:
    """More of them than it has: the oldest is closed for the next one."""
    host, _, port = process.metrics.rpartition(":")
    with without_descriptors(process), ExitStack() as stack:
        for _ in range(12):
            line = stack.enter_context(contextlib.closing(socket.socket()))
            line.connect((host, int(port)))
        assert (200, "alive\n") == http_at(process.metrics, "/livez", PATIENCE_S)
    until_ready(process)
