"""The metrics port: how many threads it has at most, and that no volume holds up a scrape."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from productsearch_service import limits
from productsearch_service.observability import http
from productsearch_service.observability.http import MetricsServer
from productsearch_service.server.key_pairs import KeyPairDays
from productsearch_service.settings_library import LibrarySettings
from tests.lifecycle.asking import http_at, until

FLOOD = 5 * limits.ADMIN_CONNECTIONS_MAX // 2
PATIENCE_S = 10.0


class _Waits(Collector):
    """A scrape that ends when it is told to."""

    def __init__(self) -> None:
        self.count = self.at_once = self.at_once_most = 0
        self.may_end = threading.Event()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        self.count += 1
        self.at_once += 1
        self.at_once_most = max(self.at_once_most, self.at_once)
        self.may_end.wait(60)
        self.at_once -= 1
        yield GaugeMetricFamily("answered", "A scrape was answered.", 1)


class _Probe:
    """Readiness and liveness, fine."""

    alive = in_time = True
    not_ready_reason = ""


@pytest.fixture
def waits() -> Iterator[_Waits]:
    """Return what a scrape waits for."""
    made = _Waits()
    yield made
    made.may_end.set()


@pytest.fixture
def address(waits: _Waits) -> Iterator[str]:
    """Return the address of a metrics port whose scrapes wait."""
    registry, fine = CollectorRegistry(auto_describe=False), _Probe()
    registry.register(waits)
    server = MetricsServer("127.0.0.1:0", registry, fine, fine)  # type: ignore[arg-type]
    server.start()
    yield f"127.0.0.1:{server.server_port}"
    waits.may_end.set()
    server.stop()
    until(lambda: not _threads(), "all threads end")


def _threads() -> int:
    return sum("process_request" in each.name for each in threading.enumerate())


@contextlib.contextmanager
def _flood(address: str, sends: bytes) -> Iterator[int]:
    """Open many connections that each send something; return the most threads that were seen."""
    host, _, port = address.rpartition(":")
    with contextlib.ExitStack() as stack:
        most = 0
        for _ in range(FLOOD):
            line = stack.enter_context(socket.create_connection((host, int(port)), PATIENCE_S))
            with contextlib.suppress(OSError):
                line.sendall(sends)
            most = max(most, _threads())
        yield most


def test_a_flood_of_half_requests_has_no_more_threads_than_there_may_be(
    address: str, waits: _Waits
) -> None:
    """Each is closed in its turn, and whoever asks is answered beside them."""
    waits.may_end.set()
    with _flood(address, b"GET /metrics HTTP/1.1\r\nHost: he") as most:
        assert (200, "alive\n") == http_at(address, "/livez", PATIENCE_S)
        assert 200 == http_at(address, "/metrics", PATIENCE_S)[0]
    assert most <= limits.ADMIN_CONNECTIONS_MAX + 1
    assert waits.count <= limits.ADMIN_CONNECTIONS_MAX + 1  # what was cut off is not carried out


def test_scrapes_that_do_not_end_have_an_end_of_their_number(address: str, waits: _Waits) -> None:
    """Their threads do not end with their connections: further ones are turned away."""
    with _flood(address, b"GET /metrics HTTP/1.1\r\n\r\n") as most:
        pass
    assert most <= 2 * limits.ADMIN_CONNECTIONS_MAX
    waits.may_end.set()
    until(lambda: not _threads(), "all threads end")
    assert (200, "ready\n") == http_at(address, "/readyz", PATIENCE_S)


def test_scrapes_are_made_one_after_the_other(address: str, waits: _Waits) -> None:
    """Several at once would take the interpreter from the event loop; probes wait for none."""
    with ThreadPoolExecutor(8) as threads:
        scrapes = [threads.submit(http_at, address, "/metrics") for _ in range(8)]
        until(lambda: waits.at_once, "a scrape")
        until(lambda: _threads() == len(scrapes), "all of them")
        assert (200, "alive\n") == http_at(address, "/livez", PATIENCE_S)
        waits.may_end.set()
        assert {200} == {each.result()[0] for each in scrapes}
    assert (8, 1) == (waits.count, waits.at_once_most)


def test_a_scrape_behind_one_that_does_not_end_is_told(
    address: str, waits: _Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not hold a thread for long."""
    monkeypatch.setattr(http._Handler, "timeout", 0.2)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(http_at, address, "/metrics")
        until(lambda: waits.at_once, "a scrape")
        assert 503 == http_at(address, "/metrics", PATIENCE_S)[0]
        waits.may_end.set()
        assert 200 == first.result()[0]


@pytest.mark.parametrize(
    ("sent", "begins"),
    [
        (b"GET /livez\r\n\r\n", b"alive"),
        (b"GET /livez HTTP/1.1\r\n\r\nGET /readyz HTTP/1.1\r\n\r\n", b"HTTP/1.0 200 "),
        (b"\x16\x03\x01\x02\x00", b""),
    ],
    ids=["HTTP/0.9", "pipelined", "TLS"],
)
def test_odd_requests_are_answered_once(address: str, sent: bytes, begins: bytes) -> None:
    """The first one of a connection alone."""
    host, _, port = address.rpartition(":")
    received = b""
    with socket.create_connection((host, int(port)), PATIENCE_S) as line:
        line.sendall(sent)
        with contextlib.suppress(OSError):  # it may be over
            line.shutdown(socket.SHUT_WR)
            while part := line.recv(65536):
                received += part
    assert received.startswith(begins)
    assert received.count(b"alive") <= 1
    assert b"ready" not in received


def _hangs_at(folder: Path, over: threading.Event) -> Callable[..., Any]:
    real = os.stat

    def stat(path: Any, **options: Any) -> os.stat_result:
        if Path(path).parent == folder:
            over.wait(60)
        return real(path, **options)

    return stat


def test_a_volume_that_hangs_holds_up_no_scrape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pair has the age that was seen last, others theirs, and threads do not add up."""
    libraries = {}
    for name in ("hangs", "other", "late"):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("api_key", "secret_key"):
            (folder / file).write_text("k")
        libraries[name] = LibrarySettings(credentials_dir=folder)
    days, over = KeyPairDays(libraries, look_s=0.2), threading.Event()
    assert all(age is not None for age, _ in days().values())
    later = KeyPairDays({"late": libraries["hangs"]}, look_s=0.2)
    with monkeypatch.context() as hanging:
        hanging.setattr(os, "stat", _hangs_at(tmp_path / "hangs", over))
        os.utime(tmp_path / "other" / "api_key", (1, 1))
        os.utime(tmp_path / "other" / "secret_key", (1, 1))
        for _ in range(3):
            seen = days()
            assert later() == {"late": (None, None)}
        looks = [each for each in threading.enumerate() if each.name == "key-pairs"]
        over.set()
        for each in looks:
            each.join(PATIENCE_S)
    assert 2 == len(looks)
    (hangs, _), (other, _), _ = seen.values()
    assert hangs is not None
    assert hangs < 1
    assert other is not None
    assert other > 1000
    until(lambda: later()["late"][0] is not None, "it is seen again")
