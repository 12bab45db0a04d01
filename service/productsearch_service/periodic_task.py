"""Repeats a piece of work on the event loop: for what polls files and watches states."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

_log = logging.getLogger(__name__)


class PeriodicTask:
    """Awaits ``work`` every ``period_s`` seconds, from ``start`` until ``stop``.

    An exception of ``work`` is logged and ends one round, never the repetition. ``what`` names
    the work in that log line.
    """

    def __init__(self, what: str, work: Callable[[], Awaitable[object]], period_s: float) -> None:
        self._what = what
        self._work = work
        self._period_s = period_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first round is after one period. Needs a running event loop."""
        self._task = asyncio.create_task(self._run(), name=self._what)

    async def stop(self) -> None:
        """End, in the middle of a round if there is one under way."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._period_s)
            try:
                await self._work()
            except Exception:  # noqa: BLE001 - the repetition outlives whatever one round finds
                # Without the exception: a key pair or a token may be among its locals.
                _log.error("%s failed in an unforeseen way", self._what)
