"""The key pair of a library, from files or from settings. Shows itself to nobody."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from productsearch_service.errors import UpstreamCredentialsRejected

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class KeyPair:
    """API key and secret key of one app at the upstream."""

    api_key: str = field(repr=False)
    secret_key: str = field(repr=False)


class Credentials(Protocol):
    """Where the current key pair comes from."""

    def read(self) -> KeyPair:
        """Return the current pair; raise UpstreamCredentialsRejected if there is none."""


class FixedCredentials:
    """A pair from the environment or the settings file, for trying things out."""

    def __init__(self, pair: KeyPair) -> None:
        self._pair = pair

    def read(self) -> KeyPair:
        """Return the pair."""
        return self._pair


class FileCredentials:
    """A pair from a directory with the files ``api_key`` and ``secret_key``.

    Kubernetes swaps a secret volume by pointing one symbolic link to another directory: the
    directory is resolved once for both files, so a pair is never mixed from two generations.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self) -> KeyPair:
        """Return the pair that the files hold now."""
        try:
            generation = (self._directory / "api_key").resolve(strict=True).parent
            pair = KeyPair(
                (generation / "api_key").read_text("utf-8").strip(),
                (generation / "secret_key").read_text("utf-8").strip(),
            )
        except (OSError, UnicodeDecodeError):
            raise _unreadable() from None
        if not pair.api_key or not pair.secret_key:
            raise _unreadable()
        return pair


def _unreadable() -> UpstreamCredentialsRejected:
    return UpstreamCredentialsRejected(
        "the credential files of the library are missing, empty or unreadable"
    )
