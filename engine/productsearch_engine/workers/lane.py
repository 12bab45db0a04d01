"""Images that wait for the same processes.

Knows who is next. Does not know processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from productsearch_engine.workers.describe import Described, Wanted
from productsearch_engine.workers.turns import Turns


@dataclass(eq=False, kw_only=True)
class Job:
    """An image that somebody waits for."""

    wanted: Wanted
    content: bytes = field(repr=False)
    caller: int
    outcome: asyncio.Future[Described | bytes]
    copies: Sequence[bytes] = field(default=(), repr=False)
    attempts: int = 0
    """How many processes have died with it."""

    def succeed(self, described: Described | bytes) -> None:
        """Answer, if somebody still waits."""
        if not self.outcome.done():
            self.outcome.set_result(described)

    def fail(self, error: Exception) -> None:
        """Answer with an exception, if somebody still waits."""
        if not self.outcome.done():
            self.outcome.set_exception(error)


class Lane:
    """Callers take turns; ``cpu_s`` and ``nice`` are the limits of the lane's processes."""

    def __init__(self, *, cpu_s: float, nice: int):
        self.cpu_s = cpu_s
        self.nice = nice
        self._turns: Turns[Job] = Turns()
        self._waiting = asyncio.Event()

    def put(self, job: Job) -> None:
        """Let an image wait for its turn."""
        self._turns.put(job.caller, job)
        self._waiting.set()

    def put_back(self, job: Job) -> None:
        """Let an image be the next one: it was taken and could not be looked at."""
        self._turns.put_back(job.caller, job)
        self._waiting.set()

    def take(self) -> Job | None:
        """Return the next image that somebody still waits for, None if there is none."""
        while (job := self._turns.take()) is not None and job.outcome.done():
            pass
        if not self._turns:
            self._waiting.clear()
        return job

    async def wait(self) -> None:
        """Wait until an image waits."""
        await self._waiting.wait()
