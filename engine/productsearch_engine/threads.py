"""Makes threads that run before there is work for them.

``ThreadPoolExecutor`` starts a thread when work comes. Where the system has none to give by then,
it refuses work that it keeps all the same, and does it later, when its caller was told otherwise.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress


def started(count: int, name: str) -> ThreadPoolExecutor:
    """Return an executor of ``count`` threads, all of them running.

    Raises RuntimeError if the system has not so many.
    """
    executor = ThreadPoolExecutor(count, name)
    meeting = threading.Barrier(count + 1)

    def meet() -> None:
        with suppress(threading.BrokenBarrierError):  # there are not enough: those that are end
            meeting.wait()

    try:
        for _ in range(count):
            executor.submit(meet)
    except RuntimeError:
        meeting.abort()
        executor.shutdown(wait=False)
        raise
    meeting.wait()
    return executor
