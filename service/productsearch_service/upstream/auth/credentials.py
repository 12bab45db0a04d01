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


_MARK: Final = "\ufeff"


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
        try:
            return self._pair_in(self._directory)  # links to files of other names
        except FileNotFoundError:
            raise _unusable("one of them is missing") from None

    def _generation(self) -> KeyPair:
        return self._pair_in((self._directory / "api_key").resolve(strict=True).parent)

    def _pair_in(self, directory: Path) -> KeyPair:
        return KeyPair(
            _line(directory / "api_key"), _line(directory / "secret_key"), str(self._directory)
        )


def _line(path: Path) -> str:
    """Return the only line of a file; raise FileNotFoundError, UpstreamCredentialsRejected."""
    try:
        text = small_file.read(path).decode("utf-8").strip()
    except FileNotFoundError:
        raise
    except UnicodeDecodeError:
        raise _unusable(f"{path.name} is not UTF-8; save it as such") from None
    except OSError as error:
        raise _unusable(f"{path.name} cannot be read ({error.strerror})") from None
    if text.startswith(_MARK):
        raise _unusable(f"{path.name} begins with a byte order mark; save it without one")
    if not text:
        raise _unusable(f"{path.name} is empty")
    if not text.isprintable() or " " in text:
        raise _unusable(f"{path.name} has more than a key: a blank, or a second line")
    return MaskedText(text)


def _unusable(why: str) -> UpstreamCredentialsRejected:
    return UpstreamCredentialsRejected(f"the key pair's files cannot be used: {why}")
