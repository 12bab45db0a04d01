"""What callers want done, once it has been checked; values are within the upstream's limits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from productsearch_service.errors import ServiceError
from productsearch_service.upstream.answers import Region
from productsearch_service.upstream.client import Classes, Image

__all__ = [
    "Add", "AddOutcome", "Classes", "Delete", "Deleted", "DuplicatePolicy", "Image", "Region",
    "Search", "Stored", "Target", "Update",
]  # fmt: skip

Target = Image | str
"""A stored image: by the image it was made from, or by its cont_sign."""


class DuplicatePolicy(Enum):
    """What an add does if the same image is stored already."""

    REJECT = "fail with ImageAlreadyExists"
    KEEP = "leave the stored image as it is"
    UPDATE = "write the brief and class ids of the add to it"


class AddOutcome(Enum):
    """What an add came to."""

    CREATED = "stored"
    KEPT = "was stored already"
    UPDATED = "was stored already, and its brief and class ids were written"


_NO_CLASSES: Final = Classes()


@dataclass(slots=True)
class Add:
    """Store an image."""

    image: Image
    brief: str
    classes: Classes = _NO_CLASSES
    duplicate_policy: DuplicatePolicy = DuplicatePolicy.REJECT
    region: Region | None = None


@dataclass(slots=True)
class Search:
    """Find images: ``count`` results from rank ``start`` on, counted from 0.

    ``fingerprint`` is equal for searches that differ in their page alone. ``rerank`` is None if the
    upstream decides.
    """

    image: Image
    start: int
    count: int
    fingerprint: bytes
    classes: Classes = _NO_CLASSES
    either_class: bool = False
    region: Region | None = None
    rerank: bool | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """Change what is not None of a stored image."""

    target: Target
    brief: str | None = None
    classes: Classes = _NO_CLASSES


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a stored image; with ``allow_missing``, one that is not stored counts as deleted."""

    target: Target
    allow_missing: bool = False


@dataclass(slots=True)
class Stored:
    """What an add came to; log_id 0 means that the upstream sent none."""

    cont_sign: str
    outcome: AddOutcome
    log_id: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """What became of one signature of a batch; ``error`` is None if it is gone."""

    error: ServiceError | None
    log_id: int = 0
