"""Values that are read from files and read anew as the files change, without a restart.

A file that is broken, or gone for a moment, keeps the value that there is and is logged once.
Files are compared by their content: that sees an edit in place, a rename over, and the swap of
the one symbolic link through which Kubernetes replaces a whole volume.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from productsearch_service.periodic_task import PeriodicTask

Content = TypeVar("Content")
Value = TypeVar("Value")

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
        self._told = ""
        self._warn(self.value)

    @property
    def content(self) -> Content:
        """What the value in use was made from."""
        return self._content

    def is_broken(self) -> bool:
        """Whether the files have changed into something that cannot be used."""
        return bool(self._told)

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


def watch(watched: Sequence[Reloadable[Any, Any]], poll_s: float) -> PeriodicTask:
    """Return the task in which values look for changes every ``poll_s`` seconds."""

    async def look() -> None:
        for reloadable in watched:
            await asyncio.to_thread(reloadable.look)  # the volume that they are on may hang

    return PeriodicTask("reload", look, poll_s)
