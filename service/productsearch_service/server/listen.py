"""TLS for the port of the service, and why a port cannot be opened."""

from __future__ import annotations

import errno
import socket

import grpc

from productsearch_service.server.certificates import Pem
from productsearch_service.server.reload import Reloadable
from productsearch_service.settings import host_and_port


class CannotListen(Exception):
    """Ports cannot be opened; a line for each one names its setting and says why."""


def why_not(address: str, error: Exception) -> str:
    """Return why listening at ``address`` failed with ``error``: gRPC's own tells no cause."""
    cause = error if isinstance(error, OSError) else bind_error(address)
    if cause is None:
        return "cannot be opened"
    if cause.errno == errno.EADDRINUSE:
        return "is taken"
    if isinstance(cause, socket.gaierror) or cause.errno == errno.EADDRNOTAVAIL:
        return "is no address of this machine"
    return f"cannot be opened: {cause.strerror}"


def bind_error(address: str) -> OSError | None:
    """Return what happens to whoever tries to bind ``address``; None: it can be bound."""
    host, port = host_and_port(address)
    try:
        for family, kind, _, _, place in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind) as probe:
                probe.bind(place)
    except OSError as error:
        return error
    return None


def server_credentials(certificates: Reloadable[Pem, Pem]) -> grpc.ServerCredentials:
    """Return credentials that serve each new connection with the certificates of the moment.

    TLS 1.2 is gRPC's own minimum. Where there is a CA for callers, they must show a certificate
    of it.
    """
    given = certificates.value

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal given
        current = certificates.value
        if current is given:
            return None
        given = current
        return _configuration(current)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(given),
        changed,  # type: ignore[arg-type] # None stands for no change; its types lack that
        require_client_authentication=given.client_ca is not None,
    )


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(pem.key, pem.certificate)], root_certificates=pem.client_ca
    )
