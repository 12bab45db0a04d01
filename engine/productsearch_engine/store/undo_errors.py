"""Why a change of the journal cannot be undone."""

from __future__ import annotations


class NothingToUndoError(Exception):
    """There is no such change, it was undone, or it is older than a day."""


class ChangedSinceError(Exception):
    """Every image of a change was changed again since."""


class OtherEmbeddingError(Exception):
    """Every image of a change was deleted before the library got another embedding."""


class ErasedError(Exception):
    """Every image of a change was purged since."""
