"""Puts an engine where the vendor's SDKs look for the vendor.

The SDKs have the vendor's addresses compiled in, and https. They are run unchanged behind a
proxy that takes every CONNECT, speaks TLS under the vendor's name with a certificate of a test's
own authority, and passes the bytes on to the engine.
"""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

VENDOR = "aip.baidubce.com"
STORE_PASSWORD = "changeit"  # Java wants one; nothing in the store is secret


class Front:
    """A proxy on loopback; ``folder`` gets the authority's certificate for each language."""

    def __init__(self, engine_url: str, folder: Path):
        parts = urlsplit(engine_url)
        assert parts.hostname
        assert parts.port
        self.engine = (parts.hostname, parts.port)
        authority = trustme.CA()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(VENDOR).configure_cert(self.tls)
        self.certificate = folder / "authority.pem"
        authority.cert_pem.write_to_path(self.certificate)
        self.java_store = folder / "authority.p12"
        known = pkcs12.PKCS12Certificate(
            x509.load_pem_x509_certificate(authority.cert_pem.bytes()), b"authority"
        )
        password = BestAvailableEncryption(STORE_PASSWORD.encode())
        self.java_store.write_bytes(pkcs12.serialize_java_truststore([known], password))
        front = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    front.pass_on(self.request)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def pass_on(self, client: socket.socket) -> None:
        """Answer a CONNECT and copy bytes both ways until one side ends."""
        head = b""
        while b"\r\n\r\n" not in head:
            got = client.recv(4096)
            if not got:
                return
            head += got
        assert head.startswith(f"CONNECT {VENDOR}:443 ".encode()), head
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with (
            self.tls.wrap_socket(client, server_side=True) as plain,
            socket.create_connection(self.engine) as engine,
        ):
            back = threading.Thread(target=_copy, args=(engine, plain), daemon=True)
            back.start()
            _copy(plain, engine)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
