"""Keeps the threads of a busy interpreter on one core, if there is one that others leave alone.

Python runs one thread at a time, so a second core makes none of them faster. But a thread that
is woken on another core wakes that core first and finds its caches cold: with 32 callers that
was a third of the CPU of a call. Threads of C code, gRPC's above all, keep every core; and all
have every core while there is little to do, or where others take a part of each.

Linux only; elsewhere, and where there is but one core, nothing is done.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from productsearch_service import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_STAT: Final = Path("/proc/stat")
_TASKS: Final = Path("/proc/self/task")
_COLUMNS: Final = 8
"""Of a core's line in /proc/stat, without the time of guests, which is counted twice."""
_IDLE: Final = slice(3, 5)
"""Among them: idle, and idle while it waits for a disk."""
_STAY: Final = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen at a moment: seconds for which each core was busy, and ours among them."""

    at_s: float
    busy_s: Mapping[int, float] = field(default_factory=dict)
    own_s: float = 0.0


class OneCore:
    """The core of this process's Python threads; ``look`` chooses it, and gathers them there.

    The thread that looks stays free: what it may run on tells what the process may.
    """

    def __init__(self, *, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._last = Sight(0.0)
        self.home: int | None = None
        """The core; None: all of them."""

    def look(self) -> None:
        """See how busy the cores are, choose, and gather or free the threads."""
        allowed = _allowed()
        threads = _python_threads()
        now = _sight(threads)
        before, self._last = self._last, now
        told = before.busy_s.keys() & now.busy_s.keys() if now.own_s else set()
        if len(allowed) < 2 or not allowed <= told:
            return  # there is no choice, or nobody tells what is busy
        home = self.choose(allowed, before, now)
        if home != self.home:
            _log.debug("the interpreter's threads go to core %s", "any" if home is None else home)
            self.home = home
        _gather(threads, allowed if home is None else {home}, allowed)

    def choose(self, allowed: set[int], before: Sight, now: Sight) -> int | None:
        """Return the core to be on: the present one as long as others leave it; None: all.

        Of two processes that meet on a core one should stay: each leaves at every other look.
        """
        elapsed_s = max(now.at_s - before.at_s, 0.001)
        own = (now.own_s - before.own_s) / elapsed_s
        if own < (limits.CORE_OWN_MIN if self.home is None else limits.CORE_OWN_MIN / 2):
            return None
        others = {core: (now.busy_s[core] - before.busy_s[core]) / elapsed_s for core in allowed}
        if self.home in others:
            others[self.home] -= own
            if others[self.home] <= limits.CORE_OTHERS_MAX or self._chance() < _STAY:
                return self.home
        else:
            # Nobody tells on which cores our own work was done: on the busiest, for all we know.
            spent = own
            for core in sorted(others, key=others.__getitem__, reverse=True):
                taken = min(spent, others[core])
                others[core] -= taken
                spent -= taken
        left = sorted(core for core in others if others[core] <= limits.CORE_OTHERS_MAX)
        return left[int(self._chance() * len(left))] if left else None


def _allowed() -> set[int]:
    """Return the cores that this thread may run on; none where nobody can tell."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _python_threads() -> set[int]:
    """Return the kernel's numbers of the interpreter's threads, without the calling one."""
    found = {thread.native_id for thread in threading.enumerate()}
    return {number for number in found if number is not None} - {threading.get_native_id()}


def _sight(threads: set[int]) -> Sight:
    own_s = 0.0
    for number in threads:
        with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended, or no such file
            text = (_TASKS / str(number) / "schedstat").read_text("ascii")
            own_s += int(text.split()[0]) / 1e9
    return Sight(time.monotonic(), _busy_s(), own_s)


def _busy_s() -> dict[int, float]:
    """Return for how many seconds each core was busy so far; nothing where nobody can tell."""
    busy_s = {}
    with contextlib.suppress(OSError):
        for line in _STAT.read_text("ascii").splitlines():
            name, *columns = line.split()
            if name.startswith("cpu") and name != "cpu":
                ticks = [int(column) for column in columns[:_COLUMNS]]
                busy = sum(ticks) - sum(ticks[_IDLE])
                busy_s[int(name[3:])] = busy / os.sysconf("SC_CLK_TCK")
    return busy_s


def _gather(threads: set[int], cores: set[int], allowed: set[int]) -> None:
    """Send the interpreter's threads there, and let those free that were begun by one of them."""
    for path in _TASKS.iterdir():
        number = int(path.name)
        wanted = cores if number in threads else allowed
        with contextlib.suppress(OSError):  # it has ended, or the cores have changed: next time
            if os.sched_getaffinity(number) != wanted:
                os.sched_setaffinity(number, wanted)
