"""What a channel needs for TLS; reads certificates from files or takes them as bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import grpc

Pem: TypeAlias = str | Path | bytes
"""A path of a PEM file, or the PEM itself as bytes."""


@dataclass(frozen=True, kw_only=True)
class TlsConfig:
    """Whom to trust, and who one is. Each is the path of a PEM file, or PEM bytes.

    ``ca`` are the authorities that may sign the service's certificate; None: those that gRPC knows.
    ``cert`` and ``key`` are the caller's own, for mutual TLS: both or neither.
    """

    ca: Pem | None = None
    cert: Pem | None = None
    key: Pem | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            given, missing = ("cert", "key") if self.key is None else ("key", "cert")
            raise ValueError(f"tls has {given} without {missing}; give both, or neither")

    def credentials(self) -> grpc.ChannelCredentials:
        """Return the credentials of a channel. Raises OSError for a file that cannot be read."""
        return grpc.ssl_channel_credentials(
            root_certificates=_read(self.ca),
            private_key=_read(self.key),
            certificate_chain=_read(self.cert),
        )


def _read(pem: Pem | None) -> bytes | None:
    return pem if pem is None or isinstance(pem, bytes) else Path(pem).read_bytes()


def channel_credentials(
    tls: bool | TlsConfig | None, credentials: grpc.ChannelCredentials | None, *, has_token: bool
) -> grpc.ChannelCredentials | None:
    """Return the credentials that ``connect``'s arguments mean; None for plaintext.

    Raises TypeError, ValueError for arguments that mean nothing.
    """
    if not isinstance(tls, bool | TlsConfig | None):
        raise TypeError(
            f"tls is a {type(tls).__name__}; use True, or a file as TlsConfig(ca={tls!r})"
        )
    if credentials is not None:
        if tls is not None:
            raise ValueError("tls and credentials say the same in two ways; give one of them")
        return credentials
    if isinstance(tls, TlsConfig):
        return tls.credentials()
    # A token is a secret, so it turns TLS on unless the caller says otherwise.
    return TlsConfig().credentials() if tls or (tls is None and has_token) else None
