"""The files that are read anew while the service runs: the policy, and certificates with keys."""

from __future__ import annotations

import time

from productsearch_service.identity.policy import Policy, read_content
from productsearch_service.server import concerns
from productsearch_service.server.certificates import CertificateFiles, Pem, ends
from productsearch_service.server.reload import Reloadable
from productsearch_service.settings import Settings


def policy(settings: Settings) -> Reloadable[bytes, Policy] | None:
    """Return the policy of ``policy_file``; raise PolicyError if it cannot be used."""
    path = settings.policy_file
    if path is None:
        return None
    return Reloadable(
        "policy_file",
        lambda: read_content(path),
        Policy.parse,
        lambda old, new: f"{path}: {new.changes_since(old)}",
        lambda old, new: concerns.of_policy(new, settings, before=old),
        str(path),
    )


def certificates(settings: Settings) -> Reloadable[Pem, Pem] | None:
    """Return certificate, key and callers' CA; raise CertificateError if they cannot be used.

    At the start one that has ended is taken: no better one is there.
    """
    certificate, key = settings.tls_cert_file, settings.tls_key_file
    if certificate is None or key is None:
        return None
    files = CertificateFiles(certificate, key, settings.tls_client_ca_file)

    def changes(in_use: Pem, new: Pem) -> str:
        files.check_dates(new, time.time(), in_use)
        return f"{certificate}: ends {ends(new.certificate)}"

    return Reloadable(
        "tls_cert_file",
        files.read,
        files.check,
        changes,
        lambda _, new: concerns.of_certificates(new),
    )
