"""Values that are read from files and read anew as the files change, without a restart.

A file that is broken, or gone for a moment, keeps the value that there is and is logged once.
Files are compared by their content: that sees an edit in place, a rename over, and the swap of
the one symbolic link through which Kubernetes replaces a whole volume.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Content = TypeVar("Content")
Value = TypeVar("Value")

_log = logging.getLogger(__name__)


class Looks(Protocol):
    """Something that looks for changes when it is told to."""

    def look(self) -> None:
        """Take over what has changed."""


class Reloaded(Generic[Content, Value]):
    """A value made from the content of files; ``read`` and ``make`` raise ValueError.

    The first reading happens here and raises; later ones keep the old value instead.
    """

    def __init__(
        self, what: str, read: Callable[[], Content], make: Callable[[Content], Value]
    ) -> None:
        self.what = what
        self._read = read
        self._make = make
        self._content = read()
        self.value = make(self._content)
        """The value now in use."""
        self._told = ""

    @property
    def broken(self) -> bool:
        """Whether the files have changed into something that cannot be used."""
        return bool(self._told)

    def look(self) -> None:
        """Take over new content if there is some and it is good."""
        try:
            content = self._read()
            if content == self._content:
                self._told = ""
                return
            self.value = self._make(content)
        except ValueError as error:
            if str(error) != self._told:
                self._told = str(error)
                _log.error("%s stays as it was: %s", self.what, self._told)
            return
        self._content = content
        self._told = ""
        _log.info("%s was replaced and is in use", self.what)


class Watch:
    """Lets reloaded values look every ``poll_s`` seconds, in a thread of its own until closed."""

    def __init__(self, watched: Sequence[Looks], poll_s: float) -> None:
        self._watched = watched
        self._poll_s = poll_s
        self._closed = threading.Event()
        if watched:
            threading.Thread(target=self._run, name="reload", daemon=True).start()

    def close(self) -> None:
        """End the thread."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(self._poll_s):
            for reloaded in self._watched:
                try:
                    reloaded.look()
                except Exception:  # noqa: BLE001 - the watch outlives whatever one look finds
                    _log.error("looking for a change failed in an unforeseen way")
