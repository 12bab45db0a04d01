"""Opens the ports, with TLS where there are certificates; says why one cannot be opened."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import grpc

from productsearch_service.access.addresses import host_and_port

if TYPE_CHECKING:
    from productsearch_service.certificates import Pem
    from productsearch_service.reloading import Reloaded


class CannotListen(Exception):
    """A port cannot be opened; the text names the setting and says why."""


def open_port(
    server: grpc.Server,
    setting: str,
    address: str,
    credentials: grpc.ServerCredentials | None = None,
) -> int:
    """Let ``server`` listen and return the port; raise CannotListen."""
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError:  # grpc's way to say so, whatever the cause
        raise CannotListen(f"{setting}: {address} {_why_not(address)}") from None


def why_not(error: OSError) -> str:
    """Return why an address could not be bound."""
    if error.errno == errno.EADDRINUSE:
        return "is taken"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return "is no address of this machine"
    return f"cannot be opened: {error.strerror}"


def server_credentials(certificates: Reloaded[Pem, Pem]) -> grpc.ServerCredentials:
    """Return credentials that serve each new connection with the certificates of the moment.

    TLS 1.2 is gRPC's own minimum. Where there is a CA for callers, they must show a certificate
    of it.
    """
    given = first = certificates.value

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal given
        current = certificates.value
        if current is given:
            return None
        given = current
        return _configuration(current)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(first),
        changed,  # type: ignore[arg-type] # None stands for no change; its types lack that
        require_client_authentication=first.client_ca is not None,
    )


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(pem.key, pem.certificate)], root_certificates=pem.client_ca
    )


def _why_not(address: str) -> str:
    """Find out by trying: grpc tells nothing."""
    host, port = host_and_port(address)
    try:
        for family, kind, _, _, place in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind) as probe:
                probe.bind(place)
    except OSError as error:
        return why_not(error)
    return "cannot be opened"
