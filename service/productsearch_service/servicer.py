"""The six RPCs: validate, call, reply. Knows neither HTTP nor error codes."""

from __future__ import annotations

import logging
import threading
from itertools import chain
from typing import TYPE_CHECKING

from productsearch import v1
from productsearch_service import limits, paging, preparing, validation
from productsearch_service.access.callers import current_caller
from productsearch_service.bulk import Pipeline
from productsearch_service.calls import Ask
from productsearch_service.deadline import Deadline
from productsearch_service.errors import FieldInvalid, ServerFault, ServiceError, Violation
from productsearch_service.status import status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import grpc

    from productsearch_service.access.callers import Caller
    from productsearch_service.calls import Page, Search
    from productsearch_service.draining import Drain
    from productsearch_service.libraries import Libraries, Library

_log = logging.getLogger(__name__)

_Item = v1.BulkAddImagesRequest.Item
_Settings = v1.BulkAddImagesRequest.Settings
_ItemResult = v1.BulkAddImagesResponse.ItemResult
_Summary = v1.BulkAddImagesResponse.Summary


class Servicer(v1.ProductSearchServicer):
    """productsearch.v1.ProductSearch over the configured libraries."""

    def __init__(self, libraries: Libraries, drain: Drain) -> None:
        self._libraries = libraries
        self._drain = drain
        self._bulk_places = threading.BoundedSemaphore(limits.BULK_ITEMS_MAX)

    def AddImage(  # noqa: N802
        self, request: v1.AddImageRequest, context: grpc.ServicerContext
    ) -> v1.AddImageResponse:
        """Store one picture."""
        library = self._libraries[request.library]
        ask = _ask(context, current_caller.get())
        policy, validate_only = request.duplicate_policy, request.validate_only
        call = validation.new_image(request.new_image, policy)
        del request  # a copy of the picture that nobody needs while the upstream works
        preparing.done()
        if validate_only:
            return v1.AddImageResponse(outcome=v1.AddOutcome.ADD_OUTCOME_VALIDATED)
        stored = library.add(call, policy, ask)
        return v1.AddImageResponse(
            cont_sign=stored.cont_sign, outcome=stored.outcome, log_id=stored.log_id
        )

    def SearchImages(  # noqa: N802
        self, request: v1.SearchImagesRequest, context: grpc.ServicerContext
    ) -> v1.SearchImagesResponse:
        """Find pictures."""
        library = self._libraries[request.library]
        ask = _ask(context, current_caller.get())
        call, mark = validation.search(request, self._libraries.name(request.library))
        min_score = request.min_score
        del request  # as in AddImage
        preparing.done()
        page = library.search(call, mark, ask)
        return v1.SearchImagesResponse(
            results=[
                v1.SearchResult(cont_sign=hit.cont_sign, brief=hit.brief, score=hit.score)
                for hit in page.hits
                if hit.score >= min_score
            ],
            next_page_token=_next_page_token(call, page, mark, min_score),
            log_id=page.log_id,
        )

    def UpdateImage(  # noqa: N802
        self, request: v1.UpdateImageRequest, context: grpc.ServicerContext
    ) -> v1.UpdateImageResponse:
        """Change one stored picture."""
        library = self._libraries[request.library]
        ask = _ask(context, current_caller.get())
        call, validate_only = validation.update(request), request.validate_only
        del request  # as in AddImage
        preparing.done()
        if validate_only:
            return v1.UpdateImageResponse()
        return v1.UpdateImageResponse(log_id=library.update(call, ask))

    def DeleteImage(  # noqa: N802
        self, request: v1.DeleteImageRequest, context: grpc.ServicerContext
    ) -> v1.DeleteImageResponse:
        """Delete one stored picture."""
        library = self._libraries[request.library]
        ask = _ask(context, current_caller.get())
        call, allow_missing = validation.delete(request), request.allow_missing
        del request  # as in AddImage
        preparing.done()
        return v1.DeleteImageResponse(log_id=library.delete(call, allow_missing, ask))

    def BatchDeleteImages(  # noqa: N802
        self, request: v1.BatchDeleteImagesRequest, context: grpc.ServicerContext
    ) -> v1.BatchDeleteImagesResponse:
        """Delete stored pictures by signature."""
        library = self._libraries[request.library]
        ask = _ask(context, current_caller.get())
        signs = validation.batch_delete(request)
        preparing.done()
        outcomes = library.delete_all(signs, request.allow_missing, ask)
        return v1.BatchDeleteImagesResponse(
            results=[
                v1.BatchDeleteImagesResponse.Result(
                    cont_sign=sent,
                    error=status_of(outcome.error) if outcome.error else None,
                    log_id=outcome.log_id,
                )
                for sent, outcome in zip(request.cont_signs, outcomes, strict=True)
            ],
            failed_count=sum(outcome.error is not None for outcome in outcomes),
        )

    def BulkAddImages(  # noqa: N802
        self,
        request_iterator: Iterator[v1.BulkAddImagesRequest],
        context: grpc.ServicerContext,
    ) -> Iterator[v1.BulkAddImagesResponse]:
        """Store a stream of pictures."""
        settings, items = _opened(request_iterator)
        library = self._libraries[settings.library]
        caller = current_caller.get()
        pipeline = Pipeline[_Item, _ItemResult](
            lambda item: _bulk_add(library, settings, item, lambda: _ask(context, caller)),
            at_once=limits.BULK_AT_ONCE,
            places=self._bulk_places,
        )
        context.add_callback(lambda: pipeline.stop(None))
        summary = _Summary()
        with self._drain.listening(pipeline.stop):
            for result in pipeline.run(items):
                _count(result, summary)
                yield v1.BulkAddImagesResponse(result=result)
        yield v1.BulkAddImagesResponse(summary=summary)


def _ask(context: grpc.ServicerContext, caller: Caller) -> Ask:
    deadline = Deadline.of_call(context.time_remaining())
    return Ask(caller.name, deadline, context.is_active, caller.share)


def _next_page_token(call: Search, page: Page, mark: bytes, min_score: float) -> str:
    """Return the next page's token, or "" where none can have results.

    A short page is not the last one; only the upstream's word or an empty page is. An upstream
    that says nothing of ``has_more`` is asked again until a page is empty. A page on which no
    result reaches ``min_score`` ends the search.
    """
    start = call.start + call.count
    has_more = bool(page.hits) if page.has_more is None else page.has_more
    if not has_more or start >= limits.RESULT_WINDOW:
        return ""
    if page.hits and page.hits[0].score < min_score:
        return ""
    return paging.encode(start, mark)


def _opened(
    requests: Iterator[v1.BulkAddImagesRequest],
) -> tuple[_Settings, Iterator[_Item]]:
    """Return the stream's settings and its items."""
    first = next(requests, None)
    if first is None:
        return _Settings(), iter(())
    if first.HasField("settings"):
        validation.bulk_settings(first.settings)
        return first.settings, map(_item, requests)
    return _Settings(), map(_item, chain((first,), requests))


def _item(request: v1.BulkAddImagesRequest) -> _Item:
    if request.HasField("item"):
        return request.item
    if request.HasField("settings"):
        wrong = Violation("settings", "not the first message; send settings first or never")
    else:
        wrong = Violation("item", "a message without a part; set item")
    raise FieldInvalid(f"{wrong.field}: {wrong.description}", violations=(wrong,))


def _bulk_add(
    library: Library, settings: _Settings, item: _Item, ask: Callable[[], Ask]
) -> _ItemResult:
    """Return what AddImage would have answered for the item."""
    try:
        asked = ask()
        call = validation.bulk_item(item, settings.duplicate_policy)
        added = v1.AddImageResponse(outcome=v1.AddOutcome.ADD_OUTCOME_VALIDATED)
        if not settings.validate_only:
            stored = library.add(call, settings.duplicate_policy, asked)
            added = v1.AddImageResponse(
                cont_sign=stored.cont_sign, outcome=stored.outcome, log_id=stored.log_id
            )
    except ServiceError as error:
        return _ItemResult(key=item.key, error=status_of(error))
    except Exception:  # noqa: BLE001 - the item's boundary: the stream goes on
        _log.exception("a bulk item failed in an unforeseen way")
        return _ItemResult(key=item.key, error=status_of(ServerFault("the service failed")))
    return _ItemResult(key=item.key, added=added)


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
