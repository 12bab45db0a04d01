"""Values that are read from files and read anew as the files change, without a restart.

A file that is broken, or gone for a moment, keeps the value that there is and is logged once.
Files are compared by their content: that sees an edit in place, a rename over, and the swap of
the one symbolic link through which Kubernetes replaces a whole volume.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, Generic, TypeVar

from productsearch_service.periodic_task import PeriodicTask

Content = TypeVar("Content")
Value = TypeVar("Value")

_SLOW_S: Final = 10.0
"""Until a file that is being read counts as one that cannot be."""
_log = logging.getLogger(__name__)


class Reloadable(Generic[Content, Value]):
    """A value made from the content of files; ``read`` and ``make`` raise ValueError.

    The first reading happens here and raises; later ones keep the old value instead.
    """

    def __init__(
        self,
        what: str,
        read: Callable[[], Content],
        make: Callable[[Content], Value],
        changes: Callable[[Value, Value], str],
        concerns: Callable[[Value, Value], Iterable[str]],
        place: str = "",
    ) -> None:
        """Of the old and the new value ``changes`` tells what is different, and raises ValueError
        if the new one must not replace the old one. ``concerns`` yields warnings of the new one.
        ``place`` names the file where the errors of ``read`` and ``make`` do not."""
        self.what = what
        self._place = place
        self._changes = changes
        self._concerns = concerns
        self._read = read
        self._make = make
        self._content = read()
        self.value = make(self._content)
        """The value now in use."""
        self.hangs = False
        """Whether the look that is under way takes too long."""
        self._told = ""
        self._warn(self.value)

    @property
    def content(self) -> Content:
        """What the value in use was made from."""
        return self._content

    def is_broken(self) -> bool:
        """Whether the files have changed into something that cannot be used, or read."""
        return self.hangs or bool(self._told)

    def look(self) -> None:
        """Take over new content if there is some and it is good."""
        try:
            content = self._read()
            if content != self._content:
                value = self._make(content)
                told = self._changes(self.value, value)
                before, self.value, self._content = self.value, value, content
                _log.info("%s was replaced and is in use: %s", self.what, told)
                self._warn(before)
            elif self._told:
                _log.info("%s can be used again: it is what is in use", self.what)
        except ValueError as error:
            if str(error) != self._told:
                self._told = str(error)
                place = self._place and f"{self._place}: "
                _log.error("%s stays as it was: %s%s", self.what, place, self._told)
        else:
            self._told = ""

    def _warn(self, before: Value) -> None:
        for concern in self._concerns(before, self.value):
            _log.warning("%s", concern)


class Watch:
    """Has values look for changes every ``poll_s`` seconds, each in a thread of its own.

    The volume of one may hang: the others are looked at all the same, and nobody waits for its
    thread, at the end neither. None is of the event loop's default executor.
    """

    def __init__(
        self, watched: Sequence[Reloadable[Any, Any]], poll_s: float, slow_s: float = _SLOW_S
    ) -> None:
        self._slow_s = slow_s
        self._threads = ThreadPoolExecutor(max(1, len(watched)), thread_name_prefix="reload")
        self._tasks = [
            PeriodicTask(f"reload of {each.what}", partial(self._look, each), poll_s)
            for each in watched
        ]

    def start(self) -> None:
        """Begin. Needs a running event loop."""
        for task in self._tasks:
            task.start()

    async def stop(self) -> None:
        """End, and leave a thread that hangs to itself."""
        for task in self._tasks:
            await task.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _look(self, reloadable: Reloadable[Any, Any]) -> None:
        look = asyncio.get_running_loop().run_in_executor(self._threads, reloadable.look)
        looked, _ = await asyncio.wait({look}, timeout=self._slow_s)
        if not looked:
            reloadable.hangs = True
            _log.error(
                "%s stays as it was: it cannot be read within %g s", reloadable.what, self._slow_s
            )
        try:
            await look
        finally:
            reloadable.hangs = False
