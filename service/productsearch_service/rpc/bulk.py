"""The bounded pipeline behind BulkAddImages: items in, results out in the order of completion.

At most ``at_once`` items are between being read from the caller and being taken by the caller,
so neither a fast sender nor a slow reader makes it grow; and all streams together work on a
bounded number of items.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Pipeline(Generic[Item, Result]):
    """One run of ``work`` over a stream of items.

    ``work`` answers for every item and raises nothing. ``places`` are shared by all streams: an
    item holds one while it is worked on, and the stream reads no further until it has one.
    """

    def __init__(
        self,
        work: Callable[[Item], Awaitable[Result]],
        *,
        at_once: int,
        places: asyncio.Semaphore,
    ) -> None:
        self._work = work
        self._places = places
        self._slots = asyncio.Semaphore(at_once)
        self._results: asyncio.Queue[Result | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = False
        self._error: Exception | None = None

    async def run(
        self,
        items: AsyncIterator[Item],
        interrupted: asyncio.Event,
        reason: Callable[[], Exception],
    ) -> AsyncGenerator[Result, None]:
        """Yield a result for each item; after the last one raise what ended the stream early.

        Once ``interrupted`` is set no further item is begun; begun ones are answered, then
        ``reason`` is raised.
        """
        self._reading = True
        reader = asyncio.create_task(self._read(items), name="bulk-read")
        watcher = asyncio.create_task(self._watch(interrupted, reader, reason), name="bulk-watch")
        try:
            while self._reading or self._tasks or not self._results.empty():
                result = await self._results.get()
                if result is not None:
                    self._slots.release()
                    yield result
            if self._error is not None:
                raise self._error
        finally:
            left = [reader, watcher, *self._tasks]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _watch(
        self,
        interrupted: asyncio.Event,
        reader: asyncio.Task[None],
        reason: Callable[[], Exception],
    ) -> None:
        await interrupted.wait()
        if self._reading:
            self._error = reason()
            reader.cancel()

    async def _read(self, items: AsyncIterator[Item]) -> None:
        try:
            async for item in items:
                await self._slots.acquire()
                await self._places.acquire()
                task = asyncio.create_task(self._answer(item), name="bulk-item")
                self._tasks.add(task)
                task.add_done_callback(self._finished)
        except Exception as error:  # noqa: BLE001 - raised where the results are taken
            self._error = error
        finally:
            self._reading = False
            self._results.put_nowait(None)

    async def _answer(self, item: Item) -> None:
        self._results.put_nowait(await self._work(item))

    def _finished(self, task: asyncio.Task[None]) -> None:
        """Give the item's place back: also of a task that was cancelled before it began."""
        self._tasks.discard(task)
        self._places.release()
        self._results.put_nowait(None)
