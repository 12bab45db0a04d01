"""A TLS server with a certificate of the test's choice that counts what it is told.

Behind TLS it answers as the fake upstream does, or redirects. ``heard_bytes`` counts the bytes
of requests, not of handshakes.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import socketserver
import ssl
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.fakes.upstream import PATH, TOKEN_PATH, FakeUpstream, Received

_DAY = datetime.timedelta(days=1)


class Counting(socketserver.ThreadingTCPServer):
    """A server on loopback that counts its connections; a context manager."""

    daemon_threads = True

    def __init__(self, handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.connections = 0
        self.address = f"127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Counting:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection."""
        accepted = super().get_request()
        self.connections += 1
        return accepted


class _Refusing(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        """Close at once."""


def trap() -> Counting:
    """Return a proxy that nobody may come to."""
    return Counting(_Refusing)


class TlsHost(Counting):
    """The upstream behind TLS: ``heard_bytes``, and ``fake`` with the requests."""

    def __init__(self, certificate: tuple[bytes, bytes], folder: Path) -> None:
        super().__init__(_TlsHandler)
        self._folder = folder
        self.context = self._context(certificate)
        self.next_context: ssl.SSLContext | None = None
        self.url = f"https://{self.address}"
        self.heard_bytes = 0
        self.fake = FakeUpstream()
        self.redirects: dict[str, str] = {}
        """Method (or ``token``) -> status and Location of the answer."""

    def then_certificate(self, certificate: tuple[bytes, bytes]) -> None:
        """Show another certificate from the second connection on."""
        self.next_context = self._context(certificate)

    def _context(self, certificate: tuple[bytes, bytes]) -> ssl.SSLContext:
        (self._folder / "host.pem").write_bytes(b"".join(certificate))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / "host.pem")
        return context

    def __enter__(self) -> TlsHost:
        self.fake.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        super().__exit__(*details)
        self.fake.__exit__(*details)


class _TlsHandler(socketserver.BaseRequestHandler):
    server: TlsHost

    def handle(self) -> None:
        context = self.server.context
        self.server.context = self.server.next_context or context
        try:
            with context.wrap_socket(self.request, server_side=True) as connection:
                self._serve(connection)
        except OSError:
            pass

    def _serve(self, connection: ssl.SSLSocket) -> None:
        buffer = b""
        while piece := connection.recv(65536):
            self.server.heard_bytes += len(piece)
            buffer += piece
            head, end, body = buffer.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:])
            if end and len(body) >= int(headers.get("Content-Length", 0)):
                connection.sendall(self._answer(lines[0], headers, body))
                buffer = b""

    def _answer(self, line: str, headers: dict[str, str], body: bytes) -> bytes:
        verb, target, _ = line.split(" ")
        url = urlsplit(target)
        method = "token" if url.path == TOKEN_PATH else url.path.removeprefix(PATH)
        answer = self.server.fake.answer(Received(verb, method, url.query, body, headers))
        content = json.dumps(answer).encode()
        status = self.server.redirects.get(method, "200 OK")
        return f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def issued(authority: trustme.CA, identity: str = "127.0.0.1", days: int = 1) -> Any:
    """Return key and chain for a host; negative ``days``: they have been over so long."""
    now = datetime.datetime.now(datetime.UTC)
    leaf = authority.issue_cert(identity, not_before=now - 9 * _DAY, not_after=now + days * _DAY)
    return leaf.private_key_pem.bytes(), b"".join(pem.bytes() for pem in leaf.cert_chain_pems)


def self_signed() -> tuple[bytes, bytes]:
    """Return a key and a certificate for 127.0.0.1 that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    hosts = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - _DAY).not_valid_after(now + _DAY)
    signed = builder.add_extension(hosts, critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, signed.public_bytes(pem)
