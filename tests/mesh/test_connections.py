"""What holds a connection to the gateway without calling is closed: others need its place."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.mesh.conftest import Mesh
from tests.mesh.gateway import Certificates, Gateway

_PATIENCE_S = 30.0


def _hello() -> bytes:
    """Return the first message of a TLS handshake."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    to_send = ssl.MemoryBIO()
    handshake = context.wrap_bio(ssl.MemoryBIO(), to_send)
    with pytest.raises(ssl.SSLWantReadError):
        handshake.do_handshake()
    return to_send.read()


def _ends(connection: socket.socket) -> bool:
    """Read until the other side closes; False if it does not within 30 s."""
    connection.settimeout(_PATIENCE_S)
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        pass
    return True


def test_a_stranger_who_stops_in_the_handshake_is_let_go(calm_mesh: Mesh) -> None:
    """Nothing at all, a byte, half of the first message, all of it: closed within 10 s."""
    host, _, port = calm_mesh.gateway.address.rpartition(":")
    hello = _hello()
    began_s = time.monotonic()
    with ExitStack() as stack:
        strangers = []
        for sent in (b"", hello[:1], hello[: len(hello) // 2], hello):
            stranger = stack.enter_context(socket.create_connection((host, int(port))))
            stranger.sendall(sent)
            strangers.append(stranger)
        assert [True] * 4 == [_ends(stranger) for stranger in strangers]
    assert time.monotonic() - began_s < _PATIENCE_S


def test_a_connection_without_calls_is_closed(
    calm_mesh: Mesh, certificates: Certificates, tmp_path: Path
) -> None:
    """As a program leaves them that makes a channel for each call: here after a thirtieth of the
    minute.
    """
    addresses = [facade.url for facade in calm_mesh.facades]
    with Gateway(tmp_path, certificates, addresses, _soon) as gateway:
        host, _, port = gateway.address.rpartition(":")
        context = ssl.create_default_context(cafile=str(certificates.folder / "ca.crt"))
        context.check_hostname = False
        folder = certificates.folder
        context.load_cert_chain(folder / "shop.crt", folder / "shop.key")
        context.set_alpn_protocols(["h2"])
        with context.wrap_socket(socket.create_connection((host, int(port)))) as idle:
            assert _ends(idle)


def _soon(config: dict[str, Any]) -> None:
    """A thirtieth of the time after which an idle connection is closed."""
    (listener,) = (
        each for each in config["static_resources"]["listeners"] if each["name"] == "callers"
    )
    ((manager,),) = (chain["filters"] for chain in listener["filter_chains"])
    options = manager["typed_config"]["common_http_protocol_options"]
    seconds = float(options["idle_timeout"].removesuffix("s"))
    options["idle_timeout"] = f"{seconds / 30}s"
