"""TLS for the port of the service, and why a port cannot be opened."""

from __future__ import annotations

import errno
import socket
import time
from typing import Final

import grpc

from productsearch_service.server.certificates import Pem
from productsearch_service.server.reload import Reloadable
from productsearch_service.settings_values import host_and_port

_TAKEN: Final = "is taken"
_TICKETS_S: Final = 60.0
"""For how long a TLS session can be resumed at most."""


class CannotListen(Exception):
    """Ports cannot be opened; a line for each one names its setting and says why."""


def what_to_do(why: str) -> str:
    """Return the next step after one of the reasons of ``why_not``."""
    other = "give another address"
    return f"end the program that listens there, or {other}" if why == _TAKEN else other


def why_not(address: str, error: Exception) -> str:
    """Return why listening at ``address`` failed with ``error``: gRPC's own tells no cause."""
    cause = error if isinstance(error, OSError) else bind_error(address)
    if cause is None:
        return "cannot be opened"
    if cause.errno == errno.EADDRINUSE:
        return _TAKEN
    if isinstance(cause, socket.gaierror) or cause.errno == errno.EADDRNOTAVAIL:
        return "is no address of this machine"
    return f"cannot be opened: {cause.strerror}"


def bind_error(address: str) -> OSError | None:
    """Return what happens to whoever tries to bind ``address``; None: it can be bound.

    Of a name with several addresses one that is free is enough, unless another one is taken.
    """
    host, port = host_and_port(address)
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        return error
    errors = []
    for family, kind, _, _, place in places:
        try:
            with socket.socket(family, kind) as probe:
                # As servers do: connections of the one before may still be ending.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return error
            errors.append(error)
    return errors[-1] if len(errors) == len(places) else None


def server_credentials(certificates: Reloadable[Pem, Pem]) -> grpc.ServerCredentials:
    """Return credentials that serve each new connection with the certificates of the moment.

    TLS 1.2 is gRPC's own minimum. Where there is a CA for callers, they must show a certificate
    of it. Who resumes a session shows none, and gRPC cannot be told to issue no tickets for that.
    They end with the configuration that they were issued under, so it is renewed now and then.
    """
    given, given_at_s = certificates.value, time.monotonic()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal given, given_at_s
        current, now_s = certificates.value, time.monotonic()
        if current is given and now_s - given_at_s < _TICKETS_S:
            return None
        given, given_at_s = current, now_s
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
