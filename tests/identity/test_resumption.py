"""TLS sessions that are resumed: who resumes one shows no certificate, so it ends with a ticket."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from productsearch_service.server import tls
from tests.calls.http2 import PREFACE, SETTINGS, frame
from tests.conftest import ServerFactory
from tests.identity.authority import Authority, Issued, ServerFiles
from tests.identity.test_refusals import SHOP

LEFT_S = 3
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
Connects = Callable[[ssl.SSLSession | None], tuple[ssl.SSLSession, bool]]


def _connects(
    port: int, trusted: bytes, client: Issued, version: ssl.TLSVersion, folder: Path
) -> Connects:
    """Return what connects, with a session or without; it returns its session, and whether it was
    resumed, or raises ConnectionError or SSLError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    context.load_verify_locations(cadata=trusted.decode())
    context.set_alpn_protocols(["h2"])
    (folder / "client.pem").write_bytes(client.certificate + client.key)
    context.load_cert_chain(folder / "client.pem")

    def connect(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession, bool]:
        with (
            socket.create_connection(("127.0.0.1", port), 10) as line,
            context.wrap_socket(line, server_hostname="localhost", session=session) as tls,
        ):
            tls.sendall(PREFACE + frame(SETTINGS, 0, 0))
            if not tls.recv(9):
                raise ConnectionResetError
            assert tls.session is not None
            return tls.session, bool(tls.session_reused)

    return connect


@pytest.fixture
def connects(server: ServerFactory, tmp_path: Path, request: pytest.FixtureRequest) -> Connects:
    """Return what connects to a service with mTLS, by a certificate that ends soon."""
    authority = Authority()
    files = ServerFiles(tmp_path / "tls", authority)
    port = server(**files.settings()).port
    client = authority.issue(uris=[SHOP], left_s=LEFT_S)
    return _connects(port, authority.pem, client, request.param, tmp_path)


@pytest.mark.parametrize("connects", VERSIONS, indirect=True, ids=str)
def test_tickets_end_with_their_time(connects: Connects, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within it a session is resumed, after it the certificate is asked for: one that has ended is
    refused.
    """
    session, resumed = connects(None)
    assert not resumed
    _, resumed = connects(session)
    assert resumed
    time.sleep(LEFT_S)
    with pytest.raises((ConnectionError, ssl.SSLError)):
        connects(None)
    _, resumed = connects(session)
    assert resumed  # for as long as tickets are good
    monkeypatch.setattr(tls, "_TICKETS_S", 0)
    with pytest.raises((ConnectionError, ssl.SSLError)):
        connects(session)


@pytest.mark.parametrize("connects", VERSIONS[1:], indirect=True, ids=str)
def test_after_their_time_connections_go_on(
    connects: Connects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who still has a good certificate shows it, and is served."""
    session, _ = connects(None)
    monkeypatch.setattr(tls, "_TICKETS_S", 0)
    _, resumed = connects(session)
    assert not resumed
