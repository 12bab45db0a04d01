"""A replica that callers cannot reach is not ready, whatever it thinks of itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from demo.facade import Facade
from productsearch_service import limits
from productsearch_service.observability.reachability import Reachability
from tests.fakes.upstream import FakeUpstream
from tests.lifecycle.asking import http, until, until_ready

CONNECTIONS = 4
SILENT_PORT_PATIENCE_S = 0.2


@pytest.fixture
def process(upstream: FakeUpstream, tmp_path: Path) -> Iterator[Facade]:
    """Return a service that takes few connections, ready."""
    environment = {
        "PRODUCTSEARCH_CONNECTIONS_MAX": str(CONNECTIONS),
        "PRODUCTSEARCH_DRAIN_DELAY_S": "0",
    }
    with Facade(tmp_path, upstream.url, {"default": ("k", "s")}, environment=environment) as it:
        until_ready(it)
        yield it


def test_a_replica_without_room_for_a_connection_is_not_ready(process: Facade) -> None:
    """All connections are taken: /readyz says so, /livez does not; ready once there is room."""
    host, _, port = process.url.rpartition(":")
    with contextlib.ExitStack() as lines:
        for _ in range(CONNECTIONS + 1):
            line = socket.create_connection((host, int(port)))
            line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"))
            lines.enter_context(line)
        until(lambda: http(process, "/readyz")[0] == 503, "not ready")
        why = http(process, "/readyz")[1]
        assert f"listen: a call to its own port {port} is not answered" in why
        assert 200 == http(process, "/livez")[0]
    until_ready(process)


@pytest.mark.asyncio
@pytest.mark.parametrize("tls", [False, True])
async def test_a_port_that_accepts_and_says_nothing_is_not_reached(
    tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener whose process stands still takes connections and answers none."""
    monkeypatch.setattr(limits, "REACHABILITY_TIMEOUT_S", SILENT_PORT_PATIENCE_S)
    monkeypatch.setattr(limits, "REACHABILITY_POLL_S", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        watching = Reachability(f"127.0.0.1:{port}", tls=tls)
        watching.start(port)
        try:
            async with asyncio.timeout(20):
                while not watching.not_ready_reason:
                    await asyncio.sleep(0.02)
        finally:
            await watching.stop()


@pytest.mark.parametrize("client_ca", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_port_with_tls_is_reached_without_a_certificate(
    client_ca: bool, upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Also where callers must show one, so a replica with mutual TLS stays ready."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    files = {"TLS_CERT_FILE": "cert.pem", "TLS_KEY_FILE": "key.pem"}
    files |= {"TLS_CLIENT_CA_FILE": "ca.pem"} if client_ca else {}
    environment = {f"PRODUCTSEARCH_{name}": str(tmp_path / file) for name, file in files.items()}
    environment["PRODUCTSEARCH_DRAIN_DELAY_S"] = "0"
    with Facade(tmp_path, upstream.url, {"default": ("k", "s")}, environment=environment) as it:
        until_ready(it)
        time.sleep(limits.REACHABILITY_POLL_S * (limits.REACHABILITY_FAILURES + 1))
        assert 200 == http(it, "/readyz")[0]


@pytest.mark.asyncio
@pytest.mark.parametrize("tls", [False, True])
async def test_a_replica_out_of_descriptors_is_not_reached(
    tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could open no connection for a caller either; it is reached again with the first one."""
    monkeypatch.setattr(limits, "REACHABILITY_POLL_S", 0.01)
    monkeypatch.setattr(limits, "REACHABILITY_TIMEOUT_S", 0.5)
    watching = Reachability("127.0.0.1:1", tls=tls)
    watching._reached = _fails
    watching.start(1)
    await asyncio.sleep(0.5)
    assert "a call to its own port 1 is not answered" == watching.not_ready_reason
    watching._reached = lambda *_: True
    await asyncio.sleep(0.5)
    await watching.stop()
    assert "" == watching.not_ready_reason


def _fails(*_: object) -> bool:
    raise RuntimeError("no descriptor")
