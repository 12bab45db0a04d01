"""What can be served with and is hardly meant: told at the start and by ``settings check``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from productsearch_service import limits
from productsearch_service.identity.policy import Policy, read_content
from productsearch_service.server.certificates import days_left, read_file
from productsearch_service.server.key_pairs import days_left as key_pair_days_left
from productsearch_service.settings import LibrarySettings, Settings


def concerns(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each, with the setting; files are those that ``server.files`` checked.

    Certificates are told whenever they are read: ``certificates_near_their_end``.
    """
    for name, library in settings.libraries.items():
        for concern in _of_a_library(library):
            yield f"libraries.{name}.{concern}"
    if settings.policy_file is not None:
        policy = Policy.parse(read_content(settings.policy_file))
        for unused in policy.unused(settings.libraries):
            yield f"policy_file: {unused}"


def certificates_near_their_end(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each certificate file that has ended, or ends soon."""
    for name in ("tls_cert_file", "tls_client_ca_file"):
        file = getattr(settings, name)
        days = days_left(read_file(file), time.time()) if file is not None else None
        if days is not None and days < limits.CERTIFICATE_DAYS_FEW:
            told = f"ended {-days:.0f} days ago" if days < 0 else f"ends in {days:.0f} days"
            yield f"{name}: a certificate {told}; put a new one in its place"


def _of_a_library(library: LibrarySettings) -> Iterator[str]:
    if urlsplit(library.base_url).path.strip("/"):
        yield "base_url: has a path, which is put before the upstream's own"
    days = key_pair_days_left(library)
    if days is not None and days < limits.CERTIFICATE_DAYS_FEW:
        told = f"was {-days:.0f} days ago" if days < 0 else f"is in {days:.0f} days"
        yield f"key_pair_ends: {told}; put a new key pair in its place"
    if library.credentials_dir is not None:
        for name in ("api_key", "secret_key"):
            file = library.credentials_dir / name
            try:
                empty = not file.stat().st_size
            except OSError as error:
                yield f"credentials_dir: {file}: {error.strerror}; without it no call succeeds"
            else:
                if empty:
                    yield f"credentials_dir: {file} is empty; without it no call succeeds"
