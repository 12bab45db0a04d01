"""An event loop in virtual time, so that every order of events can be played.

It is asyncio's own loop with another clock: where all tasks wait, the clock jumps to the next
timer. So each run is the same each time, no test sleeps, and a wait that is one millisecond too
long is one.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final, TypeVar
from unittest.mock import patch

from productsearch_service import call_context

_T = TypeVar("_T")

_TOLERANCE_S: Final = time.get_clock_info("monotonic").resolution
_BUSY_MAX: Final = 10_000
"""Iterations of the loop without a pause: more means that a task never waits."""


class Stage:
    """A loop, and a clock that stands still while anything on the loop can run."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.iterations = 0
        """Of the loop: what ends in the iteration in which it began did not wait."""
        self.until_s = math.inf
        """The clock does not pass this moment; the loop stops there."""
        self.loop = _VirtualLoop(self)

    def clock(self) -> float:
        """Return the virtual time."""
        return self.now_s

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run the loop until ``work`` ends, through as much time as that takes."""
        self.until_s = math.inf
        return self.loop.run_until_complete(work)

    def enter(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Return a task for ``work``, which has not begun yet."""
        return self.loop.create_task(work)

    def step(self) -> None:
        """Run what is ready now, and nothing that becomes ready by that."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def settle(self) -> None:
        """Run until all tasks wait; no time passes."""
        self.pass_time(0)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with a halt at each timer."""
        self.until_s = self.now_s + seconds
        self.loop.run_forever()

    def close(self) -> None:
        """End all tasks and the loop."""
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.run(_ended(tasks))
        self.loop.close()


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        super().__init__(_JumpingSelector(stage, self))

    def time(self) -> float:
        return self._stage.now_s


class _JumpingSelector(selectors.SelectSelector):
    """Where a loop would sleep in ``select``, the clock jumps, or the loop stops."""

    def __init__(self, stage: Stage, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._stage = stage
        self._loop = loop
        self._busy = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        stage = self._stage
        stage.iterations += 1
        self._busy = self._busy + 1 if timeout == 0 else 0
        if self._busy > _BUSY_MAX:
            raise AssertionError("somebody runs for ever")
        if timeout is None or timeout > 0:
            next_s = math.inf if timeout is None else stage.now_s + timeout
            if next_s > stage.until_s:
                stage.now_s = max(stage.now_s, stage.until_s)
                self._loop.stop()
            elif math.isinf(next_s):
                raise AssertionError("all tasks wait for each other")
            else:
                stage.now_s = next_s
        elif stage.now_s + _TOLERANCE_S == stage.now_s:
            # After 97 days asyncio's tolerance is lost in rounding: it would never find a timer
            # due that ends exactly now.
            stage.now_s = math.nextafter(stage.now_s, math.inf)
        return []


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def staged() -> Iterator[Stage]:
    """Return a stage that deadlines are measured by, too; it is closed at the end."""
    stage = Stage()
    with patch.object(call_context, "time", SimpleNamespace(monotonic=stage.clock)):
        try:
            yield stage
        finally:
            stage.close()
