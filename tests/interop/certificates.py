"""Certificates of an authority of the matrix's own: the server's, and a caller's."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trustme
from cryptography.hazmat.primitives import serialization

CALLER: Final = "interop.example"
"""The name that the caller's certificate proves."""


class Certificates:
    """PEM files in a folder: ``authority``, and certificate and key of server and caller."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.authority = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        self.server_certificate, self.server_key = _issue(authority, folder, "localhost")
        self.caller_certificate, self.caller_key = _issue(authority, folder, CALLER)


def _issue(authority: trustme.CA, folder: Path, name: str) -> tuple[Path, Path]:
    leaf = authority.issue_cert(name)
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    # PKCS #8, the one form that every language reads.
    loaded = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    key.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, key
