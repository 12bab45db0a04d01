"""The words of a call once it has been checked: what validation makes and upstream takes.

Field names are the upstream's own terms (see docs/wire-mapping.md). Knows neither gRPC nor
HTTP; values here are within the upstream's limits, so nobody below checks them again.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from productsearch_service.deadline import Deadline


@dataclass(frozen=True, slots=True)
class Ask:
    """Who asks, until when the answer is of use, and whether they still wait for it."""

    caller: str
    deadline: Deadline
    still_waits: Callable[[], bool] = lambda: True
    share: int = 1
    """The caller's turns in a row where callers share."""


@dataclass(slots=True)
class Picture:
    """A picture by its bytes or by its address; exactly one of the two is set.

    ``field`` is the path of the request field it came from, which errors name. ``escaped`` is
    the content as a form holds it, where validation had to make that to know its length.
    """

    content: bytes = dataclasses.field(default=b"", repr=False)
    url: str = ""
    field: str = "image"
    escaped: tuple[bytes | memoryview, ...] | None = dataclasses.field(default=None, repr=False)

    def take(self) -> bytes | tuple[bytes | memoryview, ...]:
        """Return content or form and hold them no longer: a call is made once, and waits long."""
        content, escaped = self.content, self.escaped
        self.content, self.escaped = b"", None
        return content if escaped is None else escaped


Target = Picture | str
"""A stored picture: by the picture it was made from, or by its cont_sign."""


@dataclass(frozen=True, slots=True)
class Add:
    """Store a picture. Class ids are 1 to 65535 or None."""

    picture: Picture
    brief: str
    class_id1: int | None = None
    class_id2: int | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """Find pictures: ``count`` results from rank ``start`` on, counted from 0."""

    picture: Picture
    start: int
    count: int
    class_id1: int | None = None
    class_id2: int | None = None
    either_class: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    """Change what is not None of a stored picture."""

    target: Target
    brief: str | None = None
    class_id1: int | None = None
    class_id2: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a stored picture, or up to 100 of them by their signatures."""

    target: Target | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Added:
    """Answer to an Add: the signature, and the upstream's log_id (0: none).

    ``settled``: an earlier attempt's answer was lost, and a later one heard that the picture is
    stored, by that attempt or before.
    """

    cont_sign: str
    log_id: int
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """One result of a Search; score is 0 to 1."""

    cont_sign: str
    score: float
    brief: str


@dataclass(frozen=True, slots=True)
class Page:
    """Answer to a Search, best first. ``has_more`` is None where the upstream did not say."""

    hits: tuple[Hit, ...]
    has_more: bool | None
    log_id: int
