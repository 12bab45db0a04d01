"""The libraries of this service: each one's calls, with what the RPCs promise beyond REST.

The upstream knows single calls. Here they become adds that can be repeated, deletes of any
number, and searches that are answered once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from productsearch_service import limits
from productsearch_service.call_context import CallContext
from productsearch_service.errors import (
    ImageAlreadyExists,
    ImageNotFound,
    LibraryUnknown,
    ServiceError,
    quoted,
)
from productsearch_service.library.commands import (
    Add,
    AddOutcome,
    Delete,
    Deleted,
    DuplicatePolicy,
    Search,
    Stored,
    Update,
)
from productsearch_service.library.search_cache import SearchCache
from productsearch_service.upstream.answers import Page
from productsearch_service.upstream.client import UpstreamClient
from productsearch_service.upstream.stats import UpstreamStats

_NAMES_TOLD: Final = 10
_UNKNOWN: Final = "unknown"


@dataclass(eq=False)
class Library:
    """One library at its upstream. Raises ServiceErrors only.

    ``start`` begins to watch the key pair, ``close`` ends that and closes the connections.
    ``is_engine``: its upstream is the engine, which takes more fields than the vendor's cloud.
    """

    client: UpstreamClient
    search_cache: SearchCache
    start: Callable[[], None]
    close: Callable[[], Awaitable[None]]
    is_engine: bool = False

    async def add(self, command: Add, context: CallContext) -> Stored:
        """Store an image; its policy says what to do if it is stored already."""
        policy = command.duplicate_policy
        try:
            added = await self.client.add(
                command.image, command.brief, command.classes, context, region=command.region
            )
        except ImageAlreadyExists as duplicate:
            sign, words = duplicate.cont_sign, duplicate.upstream
            if sign is not None and policy is DuplicatePolicy.UPDATE:
                return await self._overwrite(sign, command, context)
            if sign is not None and policy is DuplicatePolicy.KEEP:
                return Stored(sign, AddOutcome.KEPT, words.log_id if words else 0)
            raise
        finally:
            self.search_cache.forget()
        if added.settled and policy is DuplicatePolicy.UPDATE:
            # By our lost attempt, or long before with another brief: only writing it makes sure.
            return await self._overwrite(added.cont_sign, command, context)
        return Stored(added.cont_sign, AddOutcome.CREATED, added.log_id)

    async def _overwrite(self, sign: str, command: Add, context: CallContext) -> Stored:
        change = Update(sign, command.brief, command.classes)
        return Stored(sign, AddOutcome.UPDATED, await self.update(change, context))

    async def search(self, command: Search, context: CallContext) -> Page:
        """Find images."""
        key = (command.fingerprint, command.start, command.count)
        page = await self.search_cache.answer(
            key,
            lambda: self.client.search(
                command.image,
                command.classes,
                context,
                either_class=command.either_class,
                start=command.start,
                count=command.count,
                region=command.region,
                rerank=command.rerank,
            ),
            context,
        )
        context.trail.log_id = page.log_id  # of a page that another call fetched, too
        # Whatever the vendor's cloud may mean by a field of this name, it is not the engine's.
        if page.subject is None or self.is_engine:
            return page
        return replace(page, subject=None)

    async def update(self, command: Update, context: CallContext) -> int:
        """Change a stored image; return the log_id."""
        try:
            return await self.client.update(command.target, command.brief, command.classes, context)
        finally:
            self.search_cache.forget()

    async def delete(self, command: Delete, context: CallContext) -> int:
        """Delete a stored image; return the log_id."""
        try:
            return await self.client.delete(command.target, context)
        except ImageNotFound as missing:
            if not command.allow_missing:
                raise
            return missing.upstream.log_id if missing.upstream else 0
        finally:
            self.search_cache.forget()

    async def delete_all(
        self, signs: Sequence[str], context: CallContext, *, allow_missing: bool
    ) -> dict[str, Deleted]:
        """Delete images by signature; return what became of each."""
        outcomes: dict[str, Deleted] = {}
        distinct = tuple(dict.fromkeys(signs))
        for start in range(0, len(distinct), limits.BATCH_DELETE_MAX):
            group = distinct[start : start + limits.BATCH_DELETE_MAX]
            await context.give_way()  # groups that are refused at once wait for nothing else
            outcomes |= await self._delete_group(group, context, allow_missing=allow_missing)
        return outcomes

    async def _delete_group(
        self, group: tuple[str, ...], context: CallContext, *, allow_missing: bool
    ) -> dict[str, Deleted]:
        """Delete a group in one call; halve it while an unknown signature has it refused.

        One unknown signature in a hundred costs about 14 calls that way, not 101.
        """
        if len(group) == 1:
            return {group[0]: await self._delete_one(Delete(group[0], allow_missing), context)}
        try:
            log_id = await self.client.delete_batch(group, context)
        except ImageNotFound as missing:
            # After a lost answer they may all be gone by our own doing, and then each of them
            # counts as deleted.
            fine = allow_missing or missing.maybe_done
            middle = len(group) // 2
            halves = (group[:middle], group[middle:])
            first, second = [
                await self._delete_group(half, context, allow_missing=fine) for half in halves
            ]
            return first | second
        except ServiceError as error:
            return dict.fromkeys(group, _failed(error))
        finally:
            self.search_cache.forget()
        return dict.fromkeys(group, Deleted(None, log_id))

    async def _delete_one(self, command: Delete, context: CallContext) -> Deleted:
        try:
            return Deleted(None, await self.delete(command, context))
        except ServiceError as error:
            return _failed(error)

    def prepare(self) -> None:
        """Begin to fetch a token if one is needed."""
        self.client.prepare()

    def stats(self) -> UpstreamStats:
        """Return how the library's upstream is doing."""
        return self.client.stats()


def _failed(error: ServiceError) -> Deleted:
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

    def require(self, requested: str, may_use: Callable[[str], bool]) -> None:
        """Raise LibraryUnknown unless it is there; it names those that the caller ``may_use``."""
        name = self.name(requested)
        if name not in self._libraries:
            some = ", ".join(islice(filter(may_use, sorted(self._libraries)), _NAMES_TOLD))
            raise LibraryUnknown(f"no library {quoted(name)}; there is: {some or 'none for you'}")

    def __getitem__(self, requested: str) -> Library:
        """Return the library of a request's ``library``, which is there."""
        return self._libraries[self.name(requested)]

    async def close(self) -> None:
        """Close the connections of all libraries."""
        for library in self._libraries.values():
            await library.close()
