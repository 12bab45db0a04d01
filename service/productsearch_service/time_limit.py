"""Points in time at which something is done, and limits on the time of what a task awaits."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import ClassVar, Self


class Alarm:
    """Rings at a point in time; the alarms of an event loop share one of its timers.

    A timer of uvloop costs more than all else that a time limit does.
    """

    __slots__ = ("_alarms", "at_s")

    def set(self, seconds: float, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Let it ring that many seconds from now, in ``loop`` or the running one."""
        loop = loop or asyncio.get_running_loop()
        self._alarms = _Alarms.by_loop.get(loop) or _Alarms(loop)
        self.set_again(seconds)

    def set_again(self, seconds: float) -> None:
        """Let one that was set before ring that many seconds from now."""
        self.at_s = time.monotonic() + seconds
        self._alarms.add(self)

    def cancel(self) -> None:
        """Let it not ring."""
        self._alarms.waiting.discard(self)

    def ring(self) -> None:
        """Do what it is for."""
        raise NotImplementedError


class Repeated(Alarm):
    """Does something every so many seconds, until it is cancelled."""

    __slots__ = ("_seconds", "_what")

    def __init__(self, seconds: float, what: Callable[[], object]) -> None:
        self._seconds = seconds
        self._what = what
        self.set(seconds)

    def ring(self) -> None:
        """Do it."""
        self.set_again(self._seconds)
        self._what()


class _Alarms:
    """The alarms of one loop, and its timer.

    The timer is set for the earliest alarm. Where that one is cancelled it rings all the same, and
    is set for the earliest that is left: most are cancelled long before, so this is seldom.
    """

    by_loop: ClassVar[dict[asyncio.AbstractEventLoop, _Alarms]] = {}

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        for closed in [each for each in self.by_loop.copy() if each.is_closed()]:
            self.by_loop.pop(closed, None)
        self.by_loop[loop] = self
        self.waiting: set[Alarm] = set()
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at_s = math.inf

    def add(self, alarm: Alarm) -> None:
        self.waiting.add(alarm)
        if alarm.at_s < self._rings_at_s:
            if self._timer is not None:
                self._timer.cancel()
            self._rings_at_s = alarm.at_s
            self._timer = self._loop.call_later(alarm.at_s - time.monotonic(), self._ring)

    def _ring(self) -> None:
        now_s = time.monotonic()
        self._timer, self._rings_at_s = None, math.inf
        for alarm in sorted(self.waiting, key=_at_s):
            if alarm.at_s > now_s:
                self.add(alarm)
                break
            self.waiting.discard(alarm)
            alarm.ring()


def _at_s(alarm: Alarm) -> float:
    return alarm.at_s


class TimeLimit(Alarm):
    """Ends what is awaited in it after some seconds, by TimeoutError, as ``asyncio.timeout`` does.

    ``margin_s`` begins when the event loop notices their end.
    """

    __slots__ = ("_cancelling", "_margin_s", "_seconds", "_task", "expired")

    def __init__(self, seconds: float, *, margin_s: float = 0.0) -> None:
        self._seconds = seconds
        self._margin_s = margin_s
        self.expired = False
        """Whether the time is up."""

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise AssertionError("only a task can be ended")
        self._task, self._cancelling = task, task.cancelling()
        self.set(self._seconds, loop)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.cancel()
        cancelled = self.expired and self._task.uncancel() <= self._cancelling
        if cancelled and kind is asyncio.CancelledError:
            raise TimeoutError from None

    def allow(self, seconds: float) -> None:
        """Let it end that many seconds from now."""
        if not self.expired:
            self.set_again(seconds)

    def ring(self) -> None:
        """End what is awaited."""
        margin_s, self._margin_s = self._margin_s, 0.0
        if margin_s:
            self.set_again(margin_s)
        else:
            self.expired = True
            self._task.cancel()
