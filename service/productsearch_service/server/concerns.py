"""What can be served with and is hardly meant: told at the start, when a file is replaced, and by
``settings check``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from productsearch_service import limits
from productsearch_service.errors import UpstreamCredentialsRejected
from productsearch_service.identity.policy import Policy, read_content
from productsearch_service.identity.shut_out import shut_out
from productsearch_service.server.certificates import Pem, read_file
from productsearch_service.server.certificates import concerns as of_certificate
from productsearch_service.server.key_pairs import days_left as key_pair_days_left
from productsearch_service.settings import Settings
from productsearch_service.settings_library import LibrarySettings
from productsearch_service.upstream.auth.credentials import FileCredentials


def concerns(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each, with the setting; ``server.files`` has checked the files."""
    yield from of_libraries(settings)
    if settings.policy_file is not None:
        policy = Policy.parse(read_content(settings.policy_file))
        yield from of_policy(policy, settings, before=policy)
    certificate, client_ca = (
        read_file(file) if file is not None else b""
        for file in (settings.tls_cert_file, settings.tls_client_ca_file)
    )
    yield from of_certificates(Pem(certificate, b"", client_ca))


def of_libraries(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each setting of a library that is hardly meant."""
    for name, library in settings.libraries.items():
        for concern in _of_a_library(library):
            yield f"libraries.{name}.{concern}"


def of_policy(policy: Policy, settings: Settings, *, before: Policy) -> Iterator[str]:
    """Yield a sentence for each entry without effect, and for each caller that it shuts out."""
    for told in policy.unused(settings.libraries):
        yield f"policy_file: {told}"
    for told in shut_out(before, policy, settings.libraries):
        yield f"policy_file: {told}"


def of_certificates(pem: Pem) -> Iterator[str]:
    """Yield a sentence for each file with a certificate that is not valid, or ends soon."""
    now_s = time.time()
    for setting, content in (
        ("tls_cert_file", pem.certificate),
        ("tls_client_ca_file", pem.client_ca or b""),
    ):
        for concern in of_certificate(content, now_s):
            yield f"{setting}: {concern}"


def _of_a_library(library: LibrarySettings) -> Iterator[str]:
    if urlsplit(library.base_url).path.strip("/"):
        yield "base_url: has a path, which is put before the upstream's own"
    days = key_pair_days_left(library)
    if days is not None and days < limits.CERTIFICATE_DAYS_FEW:
        told = f"was {-days:.0f} days ago" if days < 0 else f"is in {days:.0f} days"
        yield f"key_pair_ends: {told}; put a new key pair in its place"
    if library.credentials_dir is not None:
        missing = [*_missing(library.credentials_dir)]
        yield from missing or _of_key_pair(library.credentials_dir)


def _missing(directory: Path) -> Iterator[str]:
    for name in ("api_key", "secret_key"):
        file = directory / name
        try:
            empty = not file.stat().st_size
        except OSError as error:
            # "api_key: ..." would be masked as a secret.
            yield f"credentials_dir: {error.strerror}: {file}; without it no call succeeds"
        else:
            if empty:
                yield f"credentials_dir: {file} is empty; without it no call succeeds"


def _of_key_pair(directory: Path) -> Iterator[str]:
    try:
        FileCredentials(directory).read()
    except UpstreamCredentialsRejected as error:
        yield f"credentials_dir: {directory}: {error.message}; without it no call succeeds"
