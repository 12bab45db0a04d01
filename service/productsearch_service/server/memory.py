"""Lets the C library give the memory of past calls back to the system.

Other C libraries than glibc have neither of the two functions; then nothing is done.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

from productsearch_service import limits
from productsearch_service.periodic_task import PeriodicTask

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
"""mallopt's names for them, in malloc.h."""


def give_images_back() -> None:
    """Let large blocks go back as soon as they are freed; to be called before threads begin.

    glibc keeps them for later once a few were freed: under 256 callers with 3 MB each that was a
    third of the peak. One heap is enough for one event loop.
    """
    with suppress(AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_M_MMAP_THRESHOLD, limits.OWN_BLOCK_BYTES_MIN)
        set_option(_M_TRIM_THRESHOLD, limits.FREE_BYTES_KEPT)
        set_option(_M_ARENA_MAX, 1)


def trimming() -> PeriodicTask:
    """Return a task that gives back what lies free between blocks in use.

    Calls that are cancelled leave such holes: with half of all calls cancelled the process grew by
    6 MB in 100,000 calls, though no object of Python's was kept.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

    async def work() -> None:
        if trim is not None:
            trim(limits.FREE_BYTES_KEPT_LONG)

    return PeriodicTask("memory", work, limits.TRIM_PERIOD_S)
