"""Tells everyone who works on something long that this replica is about to stop."""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from productsearch_service import limits
from productsearch_service.errors import ServerDraining

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def wait_for_signal(event: threading.Event, seconds: float = math.inf) -> bool:
    """Wait until a signal's handler sets ``event``, or the time is over; return whether it is set.

    For the main thread. The system may hand a signal to any thread, and Python then runs the
    handler only when the main thread next does something: asleep for good, it would never.
    """
    until_s = time.monotonic() + seconds
    while not event.wait(max(0.0, min(limits.SIGNAL_POLL_S, until_s - time.monotonic()))):
        if time.monotonic() >= until_s:
            return False
    return True


class Drain:
    """Whether the replica is about to stop, and who wants to know."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = False
        self._listeners: set[Callable[[ServerDraining], None]] = set()

    def begin(self) -> None:
        """Tell everyone; calls from now on are refused."""
        with self._lock:
            self._begun = True
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(_stopping())

    def check(self) -> None:
        """Raise ServerDraining if the replica is about to stop."""
        if self._begun:
            raise _stopping()

    @contextmanager
    def listening(self, listener: Callable[[ServerDraining], None]) -> Iterator[None]:
        """Call ``listener`` with the error to end with, once, if draining begins meanwhile."""
        with self._lock:
            self._listeners.add(listener)
            begun = self._begun
        if begun:
            listener(_stopping())
        try:
            yield
        finally:
            with self._lock:
                self._listeners.discard(listener)


def _stopping() -> ServerDraining:
    return ServerDraining(
        "this replica is about to stop; call again and another one answers",
        retry_after_s=limits.DRAIN_RETRY_S,
    )
