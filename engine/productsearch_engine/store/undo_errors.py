"""Why a change of the journal cannot be undone."""

from __future__ import annotations

from productsearch_engine.store.images import LibraryFullError


class NothingToUndoError(Exception):
    """There is no such change, it was undone, or it is older than a day."""


class ChangedSinceError(Exception):
    """Every image of a change was changed again since."""


class OtherEmbeddingError(Exception):
    """Every image of a change was deleted under another embedding, and no copy of it was kept."""


class ErasedError(Exception):
    """Every image of a change was purged since."""


class RoomUsedError(LibraryFullError):
    """The library has more images than it would have room for."""
