"""The bounded pipeline behind BulkAddImages: items in, results out in the order of completion.

At most ``at_once`` items are between being read from the caller and being taken by the caller,
so neither a fast sender nor a slow reader makes it grow; and all streams together work on a
bounded number of items. Knows neither pictures nor HTTP.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

from productsearch_service.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Item = TypeVar("Item")
Result = TypeVar("Result")


class _End:
    """No result comes any more; ``error`` says why if that was not the plan."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


class Pipeline(Generic[Item, Result]):
    """One run of ``work`` over a stream of items.

    ``work`` answers for every item and raises nothing. ``places`` are shared by all streams: an
    item holds one while it is worked on, and the stream reads no further until it has one.
    """

    def __init__(
        self, work: Callable[[Item], Result], *, at_once: int, places: threading.Semaphore
    ) -> None:
        self._work = work
        self._places = places
        self._slots = threading.Semaphore(at_once)
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="bulk")
        self._results: SimpleQueue[Result | _End] = SimpleQueue()
        self._lock = threading.Lock()
        self._under_way = 0
        self._reading = True
        self._error: Exception | None = None

    def run(self, items: Iterator[Item]) -> Iterator[Result]:
        """Yield a result for each item; after the last one raise what ended the stream early."""
        reader = threading.Thread(target=self._read, args=(items,), name="bulk-read", daemon=True)
        reader.start()
        try:
            while True:
                result = self._results.get()
                if isinstance(result, _End):
                    if result.error is not None:
                        raise result.error
                    return
                self._slots.release()
                yield result
        finally:
            self.stop(None)
            self._slots.release()  # a reader that waits for a slot finds that it is over
            self._pool.shutdown(wait=False)

    def stop(self, error: Exception | None) -> None:
        """Send nothing more on and end, with ``error`` if there is one, after what is begun."""
        with self._lock:
            if not self._reading:
                return
            self._reading = False
            self._error = error
            if not self._under_way:
                self._results.put(_End(error))

    def _read(self, items: Iterator[Item]) -> None:
        error: Exception | None = None
        try:
            for item in items:
                self._slots.acquire()
                self._places.acquire()
                with self._lock:
                    if not self._reading:
                        self._places.release()
                        return
                    self._under_way += 1
                self._pool.submit(self._finish, item)
        except ServiceError as refused:
            error = refused
        except Exception:  # noqa: BLE001 - grpc's own end of a cancelled stream
            error = None
        self.stop(error)

    def _finish(self, item: Item) -> None:
        try:
            result = self._work(item)
        finally:
            self._places.release()
        with self._lock:
            self._results.put(result)
            self._under_way -= 1
            if not self._reading and not self._under_way:
                self._results.put(_End(self._error))
