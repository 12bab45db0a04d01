"""The six RPCs: validate, do, reply."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import asdict
from typing import Final

from google.rpc import status_pb2

from productsearch import v1
from productsearch_service import limits
from productsearch_service.call_context import CallContext
from productsearch_service.errors import ServerFault, ServiceError
from productsearch_service.images.form_encoding import FormEncoder
from productsearch_service.library.commands import (
    Add,
    AddOutcome,
    Deleted,
    Image,
    Region,
    Search,
    Target,
)
from productsearch_service.library.library import Libraries, Library
from productsearch_service.rpc import page_token, signatures, validation
from productsearch_service.rpc.admission import Admission
from productsearch_service.rpc.bulk import Pipeline
from productsearch_service.rpc.bulk_stream import BulkStream, Item, Request
from productsearch_service.rpc.status import status_of
from productsearch_service.turns import Turns
from productsearch_service.upstream.answers import Page

_log = logging.getLogger(__name__)

_Settings = v1.BulkAddImagesRequest.Settings
_ItemResult = v1.BulkAddImagesResponse.ItemResult
_Summary = v1.BulkAddImagesResponse.Summary

_ENTRIES_A_TURN: Final = 64
_OUTCOMES: Final = {
    AddOutcome.CREATED: v1.AddOutcome.ADD_OUTCOME_CREATED,
    AddOutcome.KEPT: v1.AddOutcome.ADD_OUTCOME_KEPT,
    AddOutcome.UPDATED: v1.AddOutcome.ADD_OUTCOME_UPDATED,
}

_TOLD: Final = {
    v1.AddOutcome.ADD_OUTCOME_CREATED: "created",
    v1.AddOutcome.ADD_OUTCOME_KEPT: "kept",
    v1.AddOutcome.ADD_OUTCOME_UPDATED: "updated",
    v1.AddOutcome.ADD_OUTCOME_VALIDATED: "validated",
}
"""What metrics and the access line call an outcome."""


class Servicer:
    """productsearch.v1.ProductSearch over the configured libraries.

    Its methods get a CallContext from the interceptor where gRPC would give its own. Requests are
    dropped as soon as there is a command: it would hold an image once more while the upstream
    works.
    """

    def __init__(self, libraries: Libraries, images: FormEncoder, admission: Admission) -> None:
        self._libraries = libraries
        self._images = images
        self._items, self._large, self._fitting = admission.items, admission.large, admission.fit
        self._adds = admission.adds
        self._batches = Turns(1, waiting_max=limits.WAITING_MAX)

    async def AddImage(  # noqa: N802
        self, request: v1.AddImageRequest, context: CallContext
    ) -> v1.AddImageResponse:
        """Store one image."""
        library, validate_only = self._libraries[request.library], request.validate_only
        command = validation.new_image(
            request.new_image,
            request.duplicate_policy,
            context.taken_image(),
            engine=library.is_engine,
        )
        del request
        with self._place(command.image, context):
            return await self._add(library, command, context, validate_only=validate_only)

    async def SearchImages(  # noqa: N802
        self, request: v1.SearchImagesRequest, context: CallContext
    ) -> v1.SearchImagesResponse:
        """Find images."""
        library, min_score = self._libraries[request.library], request.min_score
        name = self._libraries.name(request.library)
        image = context.taken_image()
        command = await validation.search(request, name, image, engine=library.is_engine)
        del request, image
        with self._place(command.image, context):
            await validation.encode(command.image, self._images, context)
            page = await library.search(command, context)
        return v1.SearchImagesResponse(
            results=[
                v1.SearchResult(cont_sign=hit.cont_sign, brief=hit.brief, score=hit.score)
                for hit in page.hits
                if hit.score >= min_score
            ],
            next_page_token=_next_page_token(command, page, min_score),
            log_id=page.log_id,
            subject=_told_region(page.subject),
        )

    async def UpdateImage(  # noqa: N802
        self, request: v1.UpdateImageRequest, context: CallContext
    ) -> v1.UpdateImageResponse:
        """Change one stored image."""
        library, validate_only = self._libraries[request.library], request.validate_only
        command = validation.update(request, context.taken_image())
        del request
        with self._place(command.target, context):
            if isinstance(command.target, Image):
                await validation.encode(command.target, self._images, context)
            if validate_only:
                return v1.UpdateImageResponse()
            return v1.UpdateImageResponse(log_id=await library.update(command, context))

    async def DeleteImage(  # noqa: N802
        self, request: v1.DeleteImageRequest, context: CallContext
    ) -> v1.DeleteImageResponse:
        """Delete one stored image."""
        library = self._libraries[request.library]
        command = validation.delete(request, context.taken_image())
        del request
        with self._place(command.target, context):
            if isinstance(command.target, Image):
                await validation.encode(command.target, self._images, context)
            return v1.DeleteImageResponse(log_id=await library.delete(command, context))

    async def BatchDeleteImages(  # noqa: N802
        self, request: v1.BatchDeleteImagesRequest, context: CallContext
    ) -> bytes:
        """Delete stored images by signature; a malformed one fails that result alone.

        Returns a BatchDeleteImagesResponse as it is sent: as a message it takes five times more.
        """
        library = self._libraries[request.library]
        signs = signatures.batch_delete(request)
        outcomes = await library.delete_all(
            [sign for sign in signs if sign], context, allow_missing=request.allow_missing
        )
        async with self._batches.turn(context.caller.name):
            return await _batch_answer(request.cont_signs, signs, outcomes, context)

    async def BulkAddImages(  # noqa: N802
        self, requests: AsyncIterator[tuple[Request, memoryview | None, int]], context: CallContext
    ) -> AsyncGenerator[v1.BulkAddImagesResponse, None]:
        """Store a stream of images; ``requests`` are what BulkStream takes."""
        if context.ending is None:
            raise AssertionError("the interceptor gives every stream a way to end")
        stream = BulkStream(requests)

        async def add(item_and_image: tuple[Item, memoryview | None]) -> _ItemResult:
            item, image = item_and_image
            item_context = CallContext(
                context.caller, context.deadline, trail=context.trail, image=image
            )
            library = self._libraries[stream.settings.library]
            return await self._bulk_add(library, stream.settings, item, item_context)

        pipeline = Pipeline[tuple[Item, memoryview | None], _ItemResult](
            add,
            at_once=limits.BULK_AT_ONCE,
            places=self._items,
            caller=context.caller.name,
        )
        summary = _Summary()
        async with aclosing(pipeline.run(stream.items(), context.ending)) as results:
            async for result in results:
                _count(result, summary)
                yield v1.BulkAddImagesResponse(result=result)
        yield v1.BulkAddImagesResponse(summary=summary)

    def _place(self, target: Target, context: CallContext) -> AbstractContextManager[None]:
        """Return the place of a checked image while its call lasts; only one with fit needs it.

        Bulk items have their bytes counted by the streams. Entering raises ServerOverloaded.
        """
        if not isinstance(target, Image) or not target.fits:
            return nullcontext()
        places = self._large if len(target.content) > limits.LARGE_BYTES else self._fitting
        return places.held(context.caller, len(target.content))

    async def _add(
        self, library: Library, command: Add, context: CallContext, *, validate_only: bool
    ) -> v1.AddImageResponse:
        await validation.encode(command.image, self._images, context)
        if validate_only:
            return v1.AddImageResponse(outcome=v1.AddOutcome.ADD_OUTCOME_VALIDATED)
        stored = await library.add(command, context)
        return v1.AddImageResponse(
            cont_sign=stored.cont_sign, outcome=_OUTCOMES[stored.outcome], log_id=stored.log_id
        )

    async def _bulk_add(
        self, library: Library, settings: _Settings, item: Item, context: CallContext
    ) -> _ItemResult:
        """Return what AddImage would have answered for the item."""

        try:
            context.deadline.require()
            command = validation.bulk_item(
                item, settings.duplicate_policy, context.taken_image(), engine=library.is_engine
            )
            work = self._add(library, command, context, validate_only=settings.validate_only)
            added = await context.bounded(work, self._adds)
            context.trail.item(_TOLD[added.outcome])
            return _ItemResult(key=item.key, added=added)
        except asyncio.CancelledError:
            context.trail.item("cancelled")
            raise
        except ServiceError as error:
            context.trail.item("failed", error.reason)
            return _ItemResult(key=_told_key(item), error=status_of(error))
        except Exception:  # noqa: BLE001 - the item's boundary: the stream goes on
            _log.exception("a bulk item failed in an unforeseen way")
            context.trail.item("failed", ServerFault.reason)
            return _ItemResult(
                key=_told_key(item), error=status_of(ServerFault("the service failed"))
            )


def _told_region(region: Region | None) -> v1.Region | None:
    return None if region is None else v1.Region(**asdict(region))


async def _batch_answer(
    sent: Sequence[str], signs: list[str], outcomes: Mapping[str, Deleted], context: CallContext
) -> bytes:
    """Return the answer, made in parts: one message after the other is one with all results."""
    parts, failed_count = [], 0
    status: tuple[ServiceError | None, status_pb2.Status] = (None, status_pb2.Status())
    for first in range(0, len(sent), _ENTRIES_A_TURN):
        part = v1.BatchDeleteImagesResponse()
        for index in range(first, min(first + _ENTRIES_A_TURN, len(sent))):
            result = outcomes.get(signs[index]) or Deleted(signatures.no_sign(index))
            told = part.results.add(cont_sign=sent[index], log_id=result.log_id)
            if result.error is not None:
                if result.error is not status[0]:  # a group that fails has one error for all
                    status = (result.error, status_of(result.error))
                told.error.CopyFrom(status[1])
                failed_count += 1
                context.trail.item("failed", result.error.reason)
            else:
                context.trail.item("deleted")
        part.failed_count = failed_count
        parts.append(part.SerializeToString())
        await context.give_way()
    return b"".join(parts)


def _next_page_token(command: Search, page: Page, min_score: float) -> str:
    """Return the next page's token, or "" where none can have results.

    A short page is not the last one; only the upstream's word or an empty page is. An upstream
    that says nothing of ``has_more`` is asked again until a page is empty. A page on which no
    result reaches ``min_score`` ends the search.
    """
    start = command.start + command.count
    has_more = bool(page.hits) if page.has_more is None else page.has_more
    if not has_more or start >= limits.RESULT_WINDOW:
        return ""
    if page.hits and page.hits[0].score < min_score:
        return ""
    return page_token.encode(start, command.fingerprint)


def _told_key(item: Item) -> str:
    """Return an item's key as far as it may be one: results wait, and nobody counts their bytes."""
    return item.key[: limits.KEY_BYTES_MAX]


def _count(result: _ItemResult, summary: _Summary) -> None:
    summary.received_count += 1
    if result.HasField("error"):
        summary.failed_count += 1
    elif result.added.outcome in (
        v1.AddOutcome.ADD_OUTCOME_KEPT,
        v1.AddOutcome.ADD_OUTCOME_UPDATED,
    ):
        summary.duplicate_count += 1
    else:
        summary.added_count += 1
