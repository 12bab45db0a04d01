"""Computes a library's vectors with another embedding while it is used, and switches to them.

Everything that was done stays done when the process ends, also when it is killed: the next run
goes on from there. Knows the order of the steps. Does not know SQL.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from productsearch_engine.embedding.interface import Embedding, NoVectorError, Vector, Vectors
from productsearch_engine.images.errors import ImageUnreadableError
from productsearch_engine.images.small_copy import read_copy
from productsearch_engine.limits import LOCK_PAUSE_S
from productsearch_engine.progress import Bar
from productsearch_engine.reembed.room import Room
from productsearch_engine.store.libraries import Library, LibraryError
from productsearch_engine.store.reembeddings import BusyError, Other, Reembeddings
from productsearch_engine.store.second_rows import Copy
from productsearch_engine.store.signs import to_text

Command = Callable[..., str]
"""Makes of a command's words what a person can paste."""

_BATCH = 32
_LATE_MAX = (8, 16, 32, 64, 128, 256)
"""Images that may be embedded while the library's calls wait, in one try after the other: the
more are added meanwhile, the longer is the wait at the end."""

_SWITCH_S = 120.0
"""How long the switch is tried while calls leave no moment for it."""


class Change:
    """The change of one library to one embedding. Used under ``store.rights``."""

    def __init__(
        self,
        reembeddings: Reembeddings,
        library: Library,
        to: Embedding,
        room: Room,
        command: Command,
    ):
        self._command = command
        self._reembeddings = reembeddings
        self._library = library
        self._to = to
        self._room = room
        # An embedding leaves Python for most of its time.
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, "embed")

    def begin(self) -> Other:
        """Create what is needed or find what an earlier run left. Raises LibraryError."""
        name = self._library.name
        if self._library.embedding == self._to.name:
            raise LibraryError(f"{name!r} has the embedding {self._to.name} already")
        other = self._reembeddings.other(self._library)
        if other is None:
            self._patiently(
                lambda: self._reembeddings.begin(self._library, self._to.name, self._to.dimensions)
            )
            return Other(self._to.name, self._to.dimensions, None)
        if other.embedding != self._to.name:
            state = "is half way to" if other.served_until is None else "can go back to"
            raise LibraryError(
                f"{name!r} {state} {other.embedding}: first drop that with\n"
                + self._command("reembed", name, "--discard")
            )
        return other

    def fill(self, late_max: int = _LATE_MAX[0]) -> None:
        """Embed the images that have no new vector yet, and index the vectors.

        At most ``late_max`` are left: those that were added last.

        Raises LibraryError if an image has no small copy.
        """
        passed = False
        while True:
            left = self._reembeddings.left(self._library)
            if left.without_copy:
                raise LibraryError(
                    f"{left.without_copy} of {self._library.image_count} images of"
                    f" {self._library.name!r} have no small copy to embed. Switch copies on, then"
                    " add these images again:\n"
                    + self._command("library", "keep-images", self._library.name, "on")
                )
            # While images are being added there are always some left: the switch does those.
            if not left.images or (passed and left.images <= late_max and not left.unnoted):
                break
            self._room.require(2 * left.images, self._to.dimensions)
            self._pass(left.images)
            passed = True
        self._room.require(self._library.image_count, self._to.dimensions)
        print("completing the index of the new vectors", file=sys.stderr, flush=True)
        self._reembeddings.index(self._library, self._to.name, self._to.dimensions)

    def _patiently(self, begin: Callable[[], None]) -> None:
        end_s = time.monotonic() + _SWITCH_S
        while True:
            try:
                begin()
            except BusyError:
                if time.monotonic() > end_s:
                    raise self._too_busy() from None
                time.sleep(LOCK_PAUSE_S)
            else:
                return

    def _too_busy(self) -> LibraryError:
        return LibraryError(
            f"{self._library.name!r} left no moment to switch: its tables are in use without a"
            " pause, by calls, an export, a copy or a backup. Run reembed again later; nothing is"
            " lost"
        )

    def switch(self, other: Other) -> None:
        """Let the new vectors serve. Raises LibraryError if calls leave no moment for it."""
        end_s = time.monotonic() + _SWITCH_S
        late = iter(_LATE_MAX)
        late_max = next(late)
        while time.monotonic() < end_s:
            try:
                if self._reembeddings.switch(self._library, other, self._embed, late_max):
                    return
            except BusyError:
                time.sleep(LOCK_PAUSE_S)
            else:
                late_max = next(late, late_max)
                self.fill(late_max)
        raise self._too_busy()

    def _pass(self, left: int) -> None:
        after: int | None = None
        done = 0
        bar = Bar(f"embedding of {self._library.name}", left)
        while copies := self._reembeddings.copies(self._library, after, _BATCH):
            self._room.require(0, self._to.dimensions)
            signs = [copy.sign for copy in copies]
            self._reembeddings.store(self._library, self._to.name, signs, self._embed(copies))
            after = signs[-1]
            done += len(copies)
            bar(done, f", {done} of {max(left, done)} images")

    def _embed(self, copies: Sequence[Copy]) -> Vectors:
        return np.stack([*self._threads.map(self._vector, copies)])

    def _vector(self, copy: Copy) -> Vector:
        try:
            vector: Vector = self._to.embed([read_copy(copy.webp)], [copy.region])[0]
        except (NoVectorError, ImageUnreadableError) as error:
            told = "gives no vector" if isinstance(error, NoVectorError) else "has no copy to read"
            raise LibraryError(
                f"{self._to.name} {told} for the image {to_text(copy.sign)}: delete that image,"
                " then run reembed again"
            ) from None
        return vector
