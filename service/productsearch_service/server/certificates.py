"""The server's certificate, its key and its callers' CA: read from files and checked.

Knows PEM and not gRPC. A key is never shown, whatever is wrong with it.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path


class CertificateError(ValueError):
    """The files cannot be used; the text says which one and why."""


@dataclass(frozen=True, slots=True)
class Pem:
    """What the files hold. ``client_ca`` is None where callers need no certificate."""

    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None = None


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where the certificate chain, its unencrypted key and the callers' CA are."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def read(self) -> Pem:
        """Return what the files hold now; raise CertificateError."""
        return Pem(
            read_file(self.certificate),
            read_file(self.key),
            read_file(self.client_ca) if self.client_ca is not None else None,
        )

    def check(self, pem: Pem) -> Pem:
        """Return ``pem``, which was read from these files; raise CertificateError if it is bad."""
        _check_pair(self.certificate, self.key, pem)
        if self.client_ca is not None:
            check_client_ca(self.client_ca, pem.client_ca or b"")
        # The pair was checked by its path: what was read must still be there.
        if self.read() != pem:
            raise CertificateError(f"{self.certificate}: replaced while it was read")
        return pem


def check_certificate(path: Path, content: bytes) -> None:
    """Raise CertificateError if the file of this content holds no certificate."""
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise CertificateError(f"{path}: holds no PEM certificate")


def check_client_ca(path: Path, content: bytes) -> None:
    """Raise CertificateError if the file of this content is no use as the callers' CA."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_verify_locations(cadata=content.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise CertificateError(f"{path}: holds no PEM certificates of a CA") from None


def read_file(path: Path) -> bytes:
    """Return the content of a file; raise CertificateError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror}") from None


def _check_pair(certificate: Path, key: Path, pem: Pem) -> None:
    check_certificate(certificate, pem.certificate)
    if b"PRIVATE KEY-----" not in pem.key:
        raise CertificateError(f"{key}: holds no PEM private key")
    if b"ENCRYPTED" in pem.key:
        raise CertificateError(f"{key}: is encrypted; only an unencrypted key can be used")
    try:
        # Without a password of ours OpenSSL would ask for one at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError(f"{key}: is not the key of {certificate}") from None
        raise CertificateError(f"{certificate}, {key}: damaged, or too weak to be used") from None
    except OSError as error:
        raise CertificateError(f"{certificate}, {key}: {error.strerror}") from None
