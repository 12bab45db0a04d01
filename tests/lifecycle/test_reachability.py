"""A replica that callers cannot reach is not ready, whatever it thinks of itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from productsearch_service import limits
from productsearch_service.observability import health, reachability
from productsearch_service.observability.reachability import Reachability
from tests.calls.http2 import PREFACE, SETTINGS, frame
from tests.fakes.upstream import FakeUpstream
from tests.lifecycle.asking import http, until, until_ready
from tests.lifecycle.replica import Replica, replica_of

CONNECTIONS = 4
SILENT_PORT_PATIENCE_S = 0.2
_PATIENCE_S = 30.0


Serve = Callable[..., Replica]


@pytest.fixture
def serve(upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Return a function that starts a service which looks at its own port all the time, ready."""
    monkeypatch.setattr(limits, "REACHABILITY_POLL_S", 0.05)
    monkeypatch.setattr(limits, "REACHABILITY_TIMEOUT_S", 1.0)
    with contextlib.ExitStack() as running:

        def start(**settings: Any) -> Replica:
            replica = running.enter_context(replica_of(upstream, **settings))
            until_ready(replica)
            return replica

        yield start


def test_a_replica_without_room_for_a_connection_is_not_ready(serve: Serve) -> None:
    """All connections are taken: /readyz says so, /livez does not; ready once there is room."""
    replica = serve(connections_max=CONNECTIONS)
    host, _, port = replica.url.rpartition(":")
    with contextlib.ExitStack() as lines:

        def is_out() -> bool:
            """Take one more place: the replica's own connection gives its place back at its end."""
            line = lines.enter_context(socket.create_connection((host, int(port))))
            with contextlib.suppress(OSError):  # there was none
                line.sendall(PREFACE + frame(SETTINGS, 0, 0))
            return http(replica, "/readyz")[0] == 503

        for _ in range(CONNECTIONS):
            is_out()
        until(is_out, "not ready")
        why = http(replica, "/readyz")[1]
        assert f"listen: a call to its own port {port} is not answered" in why
        assert 200 == http(replica, "/livez")[0]
    until_ready(replica)


@pytest.mark.parametrize("variable", ["http_proxy", "grpc_proxy"])
def test_its_own_ports_are_asked_without_a_proxy(
    variable: str, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the environment names a proxy for all else, the watchdog and probes go straight."""
    replica = serve()
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    assert "SERVING" == health.ask(replica.admin)
    assert health.UNREACHABLE != health.ask(replica.url)


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


@pytest.mark.parametrize("client_ca", [False, True])
def test_a_port_with_tls_is_reached_without_a_certificate(
    client_ca: bool, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where callers must show one, so a replica with mutual TLS stays ready."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    looks = []
    look = reachability._reached_by_tls

    def counted(host: str, port: int) -> bool:
        looks.append(look(host, port))
        return looks[-1]

    monkeypatch.setattr(reachability, "_reached_by_tls", counted)
    files = {"tls_cert_file": "cert.pem", "tls_key_file": "key.pem"}
    files |= {"tls_client_ca_file": "ca.pem"} if client_ca else {}
    serve(**{name: tmp_path / file for name, file in files.items()})
    until(lambda: len(looks) > limits.REACHABILITY_FAILURES, "looked often enough to complain")
    assert {True} == {*looks}


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
    await _told(watching, "a call to its own port 1 is not answered")
    watching._reached = lambda *_: True
    await _told(watching, "")
    await watching.stop()


async def _told(watching: Reachability, reason: str) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while reason != watching.not_ready_reason:
            await asyncio.sleep(0.01)


def _fails(*_: object) -> bool:
    raise RuntimeError("no descriptor")
