"""The libraries of this service: each one's calls, with what the RPCs promise beyond REST.

The upstream knows single calls. Here they become adds that can be repeated, deletes of any
number, and searches that are answered once. Knows no gRPC and no HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from productsearch.v1 import AddOutcome, DuplicatePolicy
from productsearch_service import limits
from productsearch_service.calls import Delete, Update
from productsearch_service.errors import (
    ImageAlreadyExists,
    ImageNotFound,
    LibraryUnknown,
    ServiceError,
    quoted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from productsearch_service.calls import Add, Ask, Page, Search
    from productsearch_service.operations.vitals import Vitals
    from productsearch_service.searches import Searches
    from productsearch_service.upstream.client import UpstreamClient


_NAMES_TOLD: Final = 10
_UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Stored:
    """What an add came to; log_id 0 means that the upstream sent none."""

    cont_sign: str
    outcome: AddOutcome.ValueType
    log_id: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """What became of one signature of a batch; ``error`` is None if it is gone."""

    error: ServiceError | None
    log_id: int


class Library:
    """One library at its upstream. Thread-safe; raises ServiceErrors only."""

    def __init__(
        self, client: UpstreamClient, searches: Searches, on_close: Callable[[], None]
    ) -> None:
        self._client = client
        self._searches = searches
        self._on_close = on_close

    def add(self, call: Add, policy: DuplicatePolicy.ValueType, ask: Ask) -> Stored:
        """Store a picture; ``policy`` says what to do if it is stored already."""
        try:
            added = self._client.add(call, ask)
        except ImageAlreadyExists as duplicate:
            sign, words = duplicate.cont_sign, duplicate.upstream
            if sign is not None and policy == DuplicatePolicy.DUPLICATE_POLICY_UPDATE:
                return self._overwrite(sign, call, ask)
            if sign is not None and policy == DuplicatePolicy.DUPLICATE_POLICY_KEEP:
                return Stored(sign, AddOutcome.ADD_OUTCOME_KEPT, words.log_id if words else 0)
            raise
        finally:
            self._searches.forget()
        if added.settled and policy == DuplicatePolicy.DUPLICATE_POLICY_UPDATE:
            # By our lost attempt, or long before with another brief: only writing it makes sure.
            return self._overwrite(added.cont_sign, call, ask)
        return Stored(added.cont_sign, AddOutcome.ADD_OUTCOME_CREATED, added.log_id)

    def _overwrite(self, sign: str, call: Add, ask: Ask) -> Stored:
        change = Update(sign, call.brief, call.class_id1, call.class_id2)
        return Stored(sign, AddOutcome.ADD_OUTCOME_UPDATED, self.update(change, ask))

    def search(self, call: Search, mark: bytes, ask: Ask) -> Page:
        """Find pictures; ``mark`` is the search's fingerprint without the page."""
        key = (mark, call.start, call.count)
        return self._searches.answer(key, lambda: self._client.search(call, ask), ask.deadline)

    def update(self, call: Update, ask: Ask) -> int:
        """Change a stored picture; return the log_id."""
        try:
            return self._client.update(call, ask)
        finally:
            self._searches.forget()

    def delete(self, call: Delete, allow_missing: bool, ask: Ask) -> int:
        """Delete a stored picture; return the log_id."""
        try:
            return self._client.delete(call, ask)
        except ImageNotFound as missing:
            if not allow_missing:
                raise
            return missing.upstream.log_id if missing.upstream else 0
        finally:
            self._searches.forget()

    def delete_all(self, signs: Sequence[str], allow_missing: bool, ask: Ask) -> list[Deleted]:
        """Delete pictures by signature; return what became of each, in the order of ``signs``."""
        outcomes: dict[str, Deleted] = {}
        distinct = tuple(dict.fromkeys(signs))
        for start in range(0, len(distinct), limits.BATCH_DELETE_MAX):
            group = distinct[start : start + limits.BATCH_DELETE_MAX]
            outcomes |= self._delete_group(group, allow_missing, ask)
        return [outcomes[sign] for sign in signs]

    def prepare(self) -> None:
        """Begin to fetch a token if one is needed."""
        self._client.prepare()

    def vitals(self) -> Vitals:
        """Return how the library's upstream is doing."""
        return self._client.vitals()

    def close(self) -> None:
        """Close the connections."""
        self._on_close()
        self._client.close()

    def _delete_group(
        self, group: tuple[str, ...], allow_missing: bool, ask: Ask
    ) -> dict[str, Deleted]:
        outcome = _outcome(partial(self.delete, Delete(group), False, ask))
        if isinstance(outcome.error, ImageNotFound):
            # At least one of them is not there; which, only single calls can tell. After a lost
            # answer they may all be gone by our own doing, and then each of them counts as deleted.
            fine = allow_missing or outcome.error.maybe_done
            return {sign: _outcome(partial(self.delete, Delete(sign), fine, ask)) for sign in group}
        return dict.fromkeys(group, outcome)


def _outcome(delete: Callable[[], int]) -> Deleted:
    try:
        return Deleted(None, delete())
    except ServiceError as error:
        return Deleted(error, error.upstream.log_id if error.upstream else 0)


class Libraries:
    """All libraries by name."""

    def __init__(self, libraries: Mapping[str, Library], default: str) -> None:
        self._libraries = libraries
        self._default = default

    def name(self, requested: str) -> str:
        """Return the name that a request's ``library`` stands for."""
        return requested or self._default

    def label(self, name: str) -> str:
        """Return what metrics and the log call a library: callers can make up names."""
        return name if name in self._libraries else _UNKNOWN

    def all(self) -> Mapping[str, Library]:
        """Return the libraries by name."""
        return self._libraries

    def __getitem__(self, requested: str) -> Library:
        """Return the library of a request's ``library``; raise LibraryUnknown."""
        library = self._libraries.get(self.name(requested))
        if library is None:
            some = ", ".join(sorted(self._libraries)[:_NAMES_TOLD])
            raise LibraryUnknown(
                f"no library {quoted(self.name(requested))}; this service has: {some}"
            )
        return library

    def close(self) -> None:
        """Close the connections of all libraries."""
        for library in self._libraries.values():
            library.close()
