"""The key pair of a library, from files or from settings; its repr shows nothing of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from productsearch_service import small_file
from productsearch_service.errors import UpstreamCredentialsRejected
from productsearch_service.redaction import register_secret
from productsearch_service.upstream.masked import MaskedText

_LOOKS_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class KeyPair:
    """API key and secret key of one app at the upstream.

    ``use`` names the place where the pair is in use: another one there takes its place in what is
    masked, and without a name it is masked only until others come.
    """

    api_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    use: str = field(default="", repr=False, compare=False)

    def __post_init__(self) -> None:
        for half, secret in (("api_key", self.api_key), ("secret_key", self.secret_key)):
            register_secret(secret, self.use and f"{self.use}: {half}")


class Credentials(Protocol):
    """Where the current key pair comes from."""

    def read(self) -> KeyPair:
        """Return the current pair; raise UpstreamCredentialsRejected if there is none.

        May block: it is called in a thread.
        """


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
        for _ in range(_LOOKS_MAX):
            try:
                return self._generation()
            except FileNotFoundError:
                continue  # swapped between the two files: another look finds both
            except (OSError, UnicodeDecodeError):
                break
        raise _unreadable()

    def _generation(self) -> KeyPair:
        directory = (self._directory / "api_key").resolve(strict=True).parent
        pair = KeyPair(
            _line(directory / "api_key"), _line(directory / "secret_key"), str(self._directory)
        )
        if not pair.api_key or not pair.secret_key:
            raise _unreadable()
        return pair


def _line(path: Path) -> str:
    return MaskedText(small_file.read(path).decode("utf-8").strip())


def _unreadable() -> UpstreamCredentialsRejected:
    return UpstreamCredentialsRejected(
        "the credential files of the library are missing, empty or unreadable"
    )
