"""What is read and loaded of a library in bulk: its rows, and how far a load has come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from productsearch_engine.store.originals import Original


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One image of a library, with everything that is stored of it."""

    sign: int
    digest: bytes
    """SHA-256 of the image's file."""
    brief: bytes
    class_id1: int | None
    class_id2: int | None
    vector: bytes
    """The vector as float16, little endian: what is stored, bit for bit."""
    created_at: datetime | None
    updated_at: datetime | None
    """None: now."""
    copy: bytes | None
    region: tuple[float, ...] | None
    original: Original | None = None
    """The image's file; None if it is not known."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far an import has come: bytes and rows of its file, and what became of the rows."""

    position: int = 0
    rows_read: int = 0
    added: int = 0
    rejected: int = 0

    @property
    def duplicates(self) -> int:
        """Return how many rows were in the library, or in the file before."""
        return self.rows_read - self.added - self.rejected


@dataclass(frozen=True)
class Loaded:
    """What became of a batch: so many of its first rows are done; fewer if the library is full."""

    taken: int
    added: int
