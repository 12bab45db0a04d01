"""What a source gives: one entry for each image, before the image is read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One image to import.

    ``key`` names it in the source and in the journal: the path relative to the source, the address,
    or, in a rejects file, the key of the original entry. ``image`` is where to read it from.
    ``size`` and ``mtime_ns`` are those of the file, None where it has none (an address) or is
    missing. ``problem`` is set where the row itself cannot be used.
    """

    key: str
    image: str
    sku: str = ""
    brief: str = ""
    class_id1: str = ""
    class_id2: str = ""
    size: int | None = None
    mtime_ns: int | None = None
    problem: str = ""

    @property
    def origin(self) -> bytes:
        """A digest of all that is known before the image is read: equal means unchanged."""
        told = [self.image, *self.told, str(self.size), str(self.mtime_ns)]
        told += [self.problem] if self.problem else []
        plain = "\0".join(told).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(plain, digest_size=16).digest()

    @property
    def told(self) -> tuple[str, str, str, str]:
        """What is stored beside the image: own id, brief, class ids."""
        return (self.sku, self.brief, self.class_id1, self.class_id2)

    @property
    def is_url(self) -> bool:
        """Whether the image is behind an http address."""
        return self.image.lower().startswith(("http://", "https://"))


def encodable(text: str) -> str:
    """Return a text that can be encoded: neither names of files nor JSON need be Unicode."""
    try:
        plain = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        plain = text.encode("utf-8", "replace")
    return plain.decode("utf-8", "replace")


class SourceError(Exception):
    """The source as a whole cannot be read; ``next_step`` is what the user can do, if known."""

    def __init__(self, what: str, next_step: str = "") -> None:
        super().__init__(what)
        self.next_step = next_step


class Source(Protocol):
    """Entries in a fixed order, and their images."""

    name: str
    """As the user wrote it."""

    journal: Path | None
    """Where its journal is; None for a source with no place beside it, such as stdin."""

    is_rejects: bool
    """Whether its entries are the rejects of another import, whose journal they go on in."""

    def check(self) -> None:
        """Raise SourceError for what is known to be unreadable before a call is made."""

    def entries(self) -> Iterator[Entry]:
        """Yield the entries. Raises SourceError."""

    def count(self) -> int:
        """Return how many entries there are. Raises SourceError."""

    def read(self, entry: Entry, bytes_max: int) -> bytes:
        """Return the image, at most ``bytes_max`` + 1 bytes of it. Raises OSError."""
