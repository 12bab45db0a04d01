"""Where the key pairs of the libraries come from, how old they are, and how long they are good."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from productsearch_service.settings import LibrarySettings
from productsearch_service.upstream.auth.credentials import (
    Credentials,
    FileCredentials,
    FixedCredentials,
    KeyPair,
)
from productsearch_service.upstream.masked import MaskedText

_DAY_S: Final = 86_400


def days_left(library: LibrarySettings) -> float | None:
    """Return the days until ``key_pair_ends``, which begins in UTC; None if no day is set."""
    ends = library.key_pair_ends
    if ends is None:
        return None
    return (
        datetime(ends.year, ends.month, ends.day, tzinfo=UTC).timestamp() - time.time()
    ) / _DAY_S


def age_days(library: LibrarySettings) -> float | None:
    """Return the days since the files of the pair were written; None if there are none.

    In a secret volume of Kubernetes that is when the pod got them, so a restart makes them new.
    """
    if library.credentials_dir is None:
        return None
    files = [library.credentials_dir / name for name in ("api_key", "secret_key")]
    try:
        written_s = max(file.stat().st_mtime for file in files)
    except OSError:
        return None
    return max(0.0, (time.time() - written_s) / _DAY_S)


def all_days(
    libraries: Mapping[str, LibrarySettings],
) -> dict[str, tuple[float | None, float | None]]:
    """Return of each library the age of its pair and the days left."""
    return {name: (age_days(each), days_left(each)) for name, each in libraries.items()}


def credentials_of(settings: LibrarySettings) -> Credentials:
    """Return where a library's key pair comes from."""
    if settings.credentials_dir is not None:
        return FileCredentials(settings.credentials_dir)
    if settings.api_key is None or settings.secret_key is None:
        raise AssertionError("settings were validated to hold a key pair")
    api_key, secret_key = (
        settings.api_key.get_secret_value(),
        settings.secret_key.get_secret_value(),
    )
    return FixedCredentials(KeyPair(MaskedText(api_key), MaskedText(secret_key), f"pair {api_key}"))
