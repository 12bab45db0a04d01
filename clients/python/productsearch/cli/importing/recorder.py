"""Writes rows to the journal off the event loop; rows that wait together share one commit."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from productsearch.cli.journal import Journal, Row


class Recorder:
    """The journal for an event loop."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._thread = ThreadPoolExecutor(1, "journal")
        self._waiting: list[tuple[Row, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def record(self, row: Row) -> None:
        """Return when the row is on disk. Raises JournalError."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, written))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="journal")
        await written

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            failure: Exception | None = None
            try:
                rows = [row for row, _ in batch]
                await loop.run_in_executor(self._thread, self._journal.write, rows)
            except Exception as error:  # noqa: BLE001 - raised to each who waits
                failure = error
            for _, written in batch:
                if written.done():
                    continue  # whoever waited was cancelled
                if failure is None:
                    written.set_result(None)
                else:
                    written.set_exception(failure)

    async def close(self) -> None:
        """Return when all rows are written."""
        if self._writer is not None:
            await asyncio.wait([self._writer])
        self._thread.shutdown()
