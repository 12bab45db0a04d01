"""Where the key pairs of the libraries come from, how old they are, and how long they are good."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from productsearch_service.settings_library import LibrarySettings
from productsearch_service.upstream.auth.credentials import (
    Credentials,
    FileCredentials,
    FixedCredentials,
    KeyPair,
)
from productsearch_service.upstream.masked import MaskedText

_DAY_S: Final = 86_400
_LOOK_S: Final = 0.5


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
    return _age_days(_written_s(library))


def _written_s(library: LibrarySettings) -> float | None:
    if library.credentials_dir is None:
        return None
    files = [library.credentials_dir / name for name in ("api_key", "secret_key")]
    try:
        return max(file.stat().st_mtime for file in files)
    except OSError:
        return None


def _age_days(written_s: float | None) -> float | None:
    return None if written_s is None else max(0.0, (time.time() - written_s) / _DAY_S)


class KeyPairDays:
    """Age and days left of all pairs, for who must not wait for a volume that hangs.

    The files of a library are looked at in a thread of its own, one at a time. What is not seen
    within ``look_s`` is told as it was seen last.
    """

    def __init__(self, libraries: Mapping[str, LibrarySettings], look_s: float = _LOOK_S) -> None:
        self._look_s = look_s
        self._libraries = libraries
        self._written_s: dict[str, float | None] = {}
        self._looks: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()

    def __call__(self) -> dict[str, tuple[float | None, float | None]]:
        """Return of each library the age of its pair and the days left."""
        end_s = time.monotonic() + self._look_s
        with self._lock:
            for name, library in self._libraries.items():
                if library.credentials_dir is not None:
                    self._begin(name)
            looks = [*self._looks.values()]
        for look in looks:
            look.join(max(0.0, end_s - time.monotonic()))
        return {
            name: (_age_days(self._written_s.get(name)), days_left(each))
            for name, each in self._libraries.items()
        }

    def _begin(self, name: str) -> None:
        before = self._looks.get(name)
        if before is not None and before.is_alive():
            return
        look = threading.Thread(target=self._look, args=(name,), name="key-pairs", daemon=True)
        with contextlib.suppress(RuntimeError):  # this replica has no thread left
            look.start()
            self._looks[name] = look

    def _look(self, name: str) -> None:
        self._written_s[name] = _written_s(self._libraries[name])


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
