"""TLS for the port of the service."""

from __future__ import annotations

import time
from typing import Final

import grpc

from productsearch_service.server.certificates import Pem
from productsearch_service.server.reload import Reloadable

_TICKETS_S: Final = 60.0
"""For how long a TLS session can be resumed at most."""


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
