"""A certificate authority for tests: certificates with the names and the dates of one's choice."""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_HOUR = datetime.timedelta(hours=1)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, PEM, and the certificate's serial number."""

    certificate: bytes
    key: bytes
    serial: int


class Authority:
    """Signs certificates; ``pem`` is its own."""

    def __init__(self, name: str = "tests") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        certificate = self._sign(self._name, self._key.public_key(), [(basic, True)], _HOUR)
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        *,
        uris: Sequence[str] = (),
        dns: Sequence[str] = (),
        ips: Sequence[str] = (),
        hours_ago: int = 0,
        left_s: float = 3600,
    ) -> Issued:
        """Return a certificate that ends in ``left_s`` seconds, or ended ``hours_ago``."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        names += [x509.DNSName(name) for name in dns]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ips]
        alternative = [(x509.SubjectAlternativeName(names), False)] if names else []
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "common.name")])
        left = -hours_ago * _HOUR if hours_ago else datetime.timedelta(seconds=left_s)
        certificate = self._sign(subject, key.public_key(), alternative, left)
        return Issued(
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            certificate.serial_number,
        )

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        extensions: Sequence[tuple[x509.ExtensionType, bool]],
        left: datetime.timedelta,
    ) -> x509.Certificate:
        ends = datetime.datetime.now(datetime.UTC) + left
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(ends - 2 * _HOUR)
            .not_valid_after(ends)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256())


class ServerFiles:
    """A server's certificate, key and client CA in a directory, swapped as Kubernetes does.

    The files are symbolic links through ``..data``, which points to one generation's directory.
    """

    def __init__(self, directory: Path, authority: Authority) -> None:
        self.directory = directory
        self._authority = authority
        self._generation = 0
        directory.mkdir(parents=True)
        self.serial = 0
        self.swap()
        for name in ("tls.crt", "tls.key", "ca.crt"):
            (directory / name).symlink_to(Path("..data") / name)

    def swap(self, issued: Issued | None = None) -> int:
        """Put a new pair in place at once, or this one; return the certificate's serial."""
        issued = issued or self._authority.issue(dns=["localhost"], ips=["127.0.0.1"])
        self._generation += 1
        generation = self.directory / f"..{self._generation}"
        generation.mkdir()
        (generation / "tls.crt").write_bytes(issued.certificate)
        (generation / "tls.key").write_bytes(issued.key)
        (generation / "ca.crt").write_bytes(self._authority.pem)
        new = self.directory / "..data_new"
        new.symlink_to(generation.name)
        os.rename(new, self.directory / "..data")  # noqa: PTH104 - rename over a link, at once
        self.serial = issued.serial
        return self.serial

    def settings(self, *, mutual: bool = True) -> dict[str, Path]:
        """Return the settings that name the files."""
        named = {
            "tls_cert_file": self.directory / "tls.crt",
            "tls_key_file": self.directory / "tls.key",
        }
        return named | ({"tls_client_ca_file": self.directory / "ca.crt"} if mutual else {})


def secure_channel(port: int, trusted: bytes, client: Issued | None = None) -> grpc.Channel:
    """Return a channel to this machine that trusts one CA and shows a certificate, or none."""
    credentials = grpc.ssl_channel_credentials(
        trusted,
        client.key if client is not None else None,
        client.certificate if client is not None else None,
    )
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.secure_channel(f"127.0.0.1:{port}", credentials, options)


def shown_serial(port: int) -> int:
    """Return the serial number of the certificate that a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain) as wrapped,
    ):
        shown = wrapped.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number
