"""Repeats work in a thread of its own, beside the calls that an engine serves.

Knows when. Does not know what the work is: it is not to raise.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(
    work: Callable[[], object],
    name: str,
    every_s: float,
    *,
    at_once: bool = False,
    rest: float = 0.0,
) -> Iterator[None]:
    """Do the work in a thread called ``name``, again and again until the context ends.

    The first time is after ``every_s``, or at once. Between two times are at least ``every_s``,
    and ``rest`` times as many seconds as the work took.
    """
    stopped = threading.Event()

    def run() -> None:
        pause_s = 0.0 if at_once else every_s
        while not stopped.wait(pause_s):
            began_s = time.monotonic()
            work()
            pause_s = max(every_s, rest * (time.monotonic() - began_s))

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
