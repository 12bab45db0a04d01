"""The bounded pipeline behind BulkAddImages: items in, results out in the order of completion.

At most ``at_once`` items are between being read from the caller and being taken by the caller,
so neither a fast sender nor a slow reader makes it grow; and all streams together work on a
bounded number of items.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Generic, TypeVar

from productsearch_service.errors import Refusal
from productsearch_service.turns import Turns

Item = TypeVar("Item")
Result = TypeVar("Result")


class Pipeline(Generic[Item, Result]):
    """One run of ``work`` over a stream of items of one caller, each given with its bytes.

    ``work`` answers for every item and raises nothing. ``places`` are shared by all streams: an
    item holds one, and its bytes, while it is worked on, and the stream reads no further until it
    has one.
    """

    def __init__(
        self,
        work: Callable[[Item], Awaitable[Result]],
        *,
        at_once: int,
        places: Turns,
        caller: str,
    ) -> None:
        self._work = work
        self._places = places
        self._caller = caller
        self._slots = asyncio.Semaphore(at_once)
        self._results: asyncio.Queue[Result | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = False
        self._error: Exception | None = None

    async def run(
        self,
        items: AsyncIterator[tuple[Item, int]],
        ending: asyncio.Future[Refusal],
    ) -> AsyncGenerator[Result, None]:
        """Yield a result for each item; after the last one raise what ended the stream early.

        Once ``ending`` is done no further item is begun; begun ones are answered, then its result
        is raised.
        """
        self._reading = True
        reader = asyncio.create_task(self._read(items), name="bulk-read")

        def end(_: object) -> None:
            if self._reading:
                self._error = ending.result()
                reader.cancel()

        ending.add_done_callback(end)
        try:
            while self._reading or self._tasks or not self._results.empty():
                result = await self._results.get()
                if result is not None:
                    self._slots.release()
                    yield result
            if self._error is not None:
                raise self._error
        finally:
            ending.remove_done_callback(end)
            left = [reader, *self._tasks]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _read(self, items: AsyncIterator[tuple[Item, int]]) -> None:
        try:
            async for item, size_bytes in items:
                await self._slots.acquire()
                await self._places.take(self._caller, size_bytes)
                task = asyncio.create_task(self._answer(item), name="bulk-item")
                self._tasks.add(task)
                task.add_done_callback(partial(self._finished, size_bytes))
                del item, task  # else they are held until the next item comes
        except Exception as error:  # noqa: BLE001 - raised where the results are taken
            self._error = error
        finally:
            self._reading = False
            self._results.put_nowait(None)

    async def _answer(self, item: Item) -> None:
        self._results.put_nowait(await self._work(item))

    def _finished(self, size_bytes: int, task: asyncio.Task[None]) -> None:
        """Give the item's place back: also of a task that was cancelled before it began."""
        self._tasks.discard(task)
        self._places.give(self._caller, size_bytes)
        self._results.put_nowait(None)
