"""Sends any number of images over BulkAddImages and yields the result of each.

This module limits how many items are sent without a result, and keeps those items. Both are needed
to continue after an interruption without losing an item. The asyncio counterpart is in ``aio``.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import grpc

from productsearch.v1.errors import text_of
from productsearch.v1.product_search_pb2 import BulkAddImagesRequest, BulkAddImagesResponse
from productsearch.v1.refusals import refusal_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType
    from typing import Self

    from productsearch.v1.product_search_pb2_grpc import ProductSearchStub

UNANSWERED_MAX: Final = 64
"""Default of ``unanswered_max``; the service works on 8 items of a stream at once."""


class BulkInterrupted(grpc.RpcError):
    """The stream ended without a summary.

    ``unanswered`` are the items that were taken and have no result. They may have been stored, so
    send them again with DUPLICATE_POLICY_KEEP. ``code()``, ``details()`` and the functions that
    read errors tell why the stream ended, and ``is_retryable`` whether a new one can succeed.
    """

    def __init__(
        self, unanswered: list[BulkAddImagesRequest.Item], error: grpc.RpcError | None
    ) -> None:
        super().__init__(unanswered, error)
        self.unanswered = unanswered
        self._error: Any = error

    def __str__(self) -> str:
        return (
            f"the bulk stream ended without a summary, {len(self.unanswered)} items without "
            f"a result: {text_of(self)}"
        )

    def code(self) -> grpc.StatusCode:
        """Return the status code that ended the stream."""
        code = self._error.code() if self._error is not None else None
        return code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        """Return the status message that ended the stream."""
        return (self._error.details() or "") if self._error is not None else "no error, no summary"

    def trailing_metadata(self) -> Any:
        """Return the trailers that ended the stream, with the error's details."""
        return (self._error.trailing_metadata() or ()) if self._error is not None else ()


class Refused:
    """Results of the items that are too large to be sent."""

    def __init__(self) -> None:
        self._results: deque[BulkAddImagesResponse.ItemResult] = deque()
        self._count = 0

    def refuses(self, item: BulkAddImagesRequest.Item) -> bool:
        """Return whether the item cannot be sent; then note its result."""
        status = refusal_of(item)
        if status is None:
            return False
        self._results.append(BulkAddImagesResponse.ItemResult(key=item.key, error=status))
        self._count += 1
        return True

    def next(self) -> BulkAddImagesResponse.ItemResult | None:
        """Return a result that was not taken yet."""
        return self._results.popleft() if self._results else None

    def add_to(self, summary: BulkAddImagesResponse.Summary) -> BulkAddImagesResponse.Summary:
        """Return the service's counts with the refused items among them."""
        summary.received_count += self._count
        summary.failed_count += self._count
        return summary


class Unanswered:
    """The items that were sent and have no result, by key, in the order of sending."""

    def __init__(self) -> None:
        self._items: dict[str, BulkAddImagesRequest.Item] = {}

    def add(self, item: BulkAddImagesRequest.Item) -> BulkAddImagesRequest:
        """Note an item and return the message that sends it. Raises ValueError."""
        if item.key in self._items:
            raise ValueError(
                f"item {item.key!r} was sent and has no result yet; give each item its own key"
            )
        self._items[item.key] = item
        return BulkAddImagesRequest(item=item)

    def remove(self, key: str) -> bool:
        """Remove an item that has its result; return whether it was unanswered."""
        return self._items.pop(key, None) is not None

    def items(self) -> list[BulkAddImagesRequest.Item]:
        """Return the unanswered items."""
        return [*self._items.values()]


class _Requests(Iterator[BulkAddImagesRequest]):
    """The messages that gRPC's thread sends: settings, then items while there are free places."""

    def __init__(
        self,
        items: Iterable[BulkAddImagesRequest.Item],
        settings: BulkAddImagesRequest.Settings | None,
        unanswered_max: int,
    ) -> None:
        self._items = iter(items)
        self._settings = settings
        self._places = threading.Semaphore(unanswered_max)
        self._reading = threading.Lock()
        self._over = False
        self._unanswered = Unanswered()
        self.refused = Refused()
        self.failure: Exception | None = None
        """What the caller's iterable raised."""

    def __next__(self) -> BulkAddImagesRequest:
        if self._settings is not None:
            settings, self._settings = self._settings, None
            return BulkAddImagesRequest(settings=settings)
        self._places.acquire()
        with self._reading:
            if self._over:
                raise StopIteration
            try:
                while self.refused.refuses(item := next(self._items)):
                    pass
                return self._unanswered.add(item)
            except StopIteration:
                raise
            except Exception as failure:  # noqa: BLE001 - the caller's own, raised to the caller
                # The stream is closed in order: what was sent is answered, then this is raised.
                self.failure = failure
                raise StopIteration from None

    def answered(self, key: str) -> None:
        """Make room for another item."""
        if self._unanswered.remove(key):
            self._places.release()

    def stop(self) -> None:
        """Take no further item."""
        self._over = True
        self._places.release()

    def left(self) -> list[BulkAddImagesRequest.Item]:
        """Take no further item and return the unanswered ones.

        An item that the iterable is just about to give is waited for: else it would be lost.
        """
        self.stop()
        with self._reading:
            return self._unanswered.items()


class BulkAdd(Iterator[BulkAddImagesResponse.ItemResult]):
    """Results in the order of completion; see ``bulk_add``."""

    def __init__(
        self,
        stub: ProductSearchStub,
        requests: _Requests,
        timeout: float | None,
        metadata: Sequence[tuple[str, str | bytes]] | None,
    ) -> None:
        self.summary: BulkAddImagesResponse.Summary | None = None
        """The service's counts, after the last result."""
        self._requests = requests
        self._end: Exception | None = None
        sent = tuple(metadata) if metadata is not None else None
        self._call = stub.BulkAddImages(requests, timeout=timeout, metadata=sent)
        # Returns False where the call is over already.
        if not self._call.add_callback(requests.stop):
            requests.stop()

    def __next__(self) -> BulkAddImagesResponse.ItemResult:
        while self._end is None:
            if (refused := self._requests.refused.next()) is not None:
                return refused
            try:
                response = next(self._call)
            except StopIteration:
                self._end = BulkInterrupted(self._requests.left(), None)
            except grpc.RpcError as error:
                self._end = BulkInterrupted(self._requests.left(), error)
                self._end.__cause__ = error
            else:
                if response.HasField("result"):
                    self._requests.answered(response.result.key)
                    return response.result
                self._end = self._ended(response.summary)
        # Items may have been refused since: they are in no count of the unanswered.
        if (refused := self._requests.refused.next()) is not None:
            return refused
        raise self._end

    def _ended(self, summary: BulkAddImagesResponse.Summary) -> Exception:
        """Return what ends the iteration after the service's summary."""
        if unanswered := self._requests.left():
            return BulkInterrupted(unanswered, None)
        self.summary = self._requests.refused.add_to(summary)
        with contextlib.suppress(grpc.RpcError):
            next(self._call, None)  # the status: else the call ends as cancelled
        return self._requests.failure or StopIteration()

    def close(self) -> None:
        """Cancel the stream if it is not over. Items without a result may have been stored."""
        self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def bulk_add(
    stub: ProductSearchStub,
    items: Iterable[BulkAddImagesRequest.Item],
    *,
    settings: BulkAddImagesRequest.Settings | None = None,
    unanswered_max: int = UNANSWERED_MAX,
    timeout: float | None = None,
    metadata: Sequence[tuple[str, str | bytes]] | None = None,
) -> BulkAdd:
    """Store the images of ``items`` and return an iterator over their results.

    Results come in the order of completion, one for each item, under its key; ``summary`` is set
    after the last one. An image over 20 MiB is not sent: its result is IMAGE_SIZE_INVALID.
    ``items`` is read in a thread of gRPC, only as fast as the service takes them and at most
    ``unanswered_max`` items ahead of the results. An exception that ``items`` raises is raised here
    after the results of the items before it.

    The iterator raises BulkInterrupted if the stream ends early. It first waits for the item that
    ``items`` is just about to give: else that item would be lost. So ``items`` must not wait for
    results. Leaving the iterator's ``with`` block cancels the stream, and so does dropping the
    iterator. ``timeout`` in seconds is for the whole stream, None for none.
    """
    if unanswered_max < 1:
        raise ValueError(f"unanswered_max is {unanswered_max}; use 1 or more")
    return BulkAdd(stub, _Requests(items, settings, unanswered_max), timeout, metadata)
