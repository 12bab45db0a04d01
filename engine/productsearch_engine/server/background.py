"""What a running engine does again and again beside its calls, each in a thread of its own.

Knows when. What is done is known by those that do it, in ``store`` and beside this module.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg_pool import PoolTimeout

from productsearch_engine.database.cause import words_of

_log = logging.getLogger(__name__)

_INTERRUPTS_S = 0.5


@contextmanager
def repeating(
    name: str,
    work: Callable[[Callable[[], bool]], object],
    every_s: float,
    *,
    share: float = 1.0,
    at_end: bool = False,
    interrupt: Callable[[], None] = lambda: None,
    failure_level: int = logging.WARNING,
) -> Iterator[None]:
    """Do ``work`` at once, and again and again until the context ends; ``at_end`` once more.

    ``work`` gets a function that returns whether it should stop; ``interrupt`` ends what of it is
    under way. Work takes at most ``share`` of the time: the pause after it is ``every_s`` or
    longer. A failure is logged and does not end the repetition; one that the database did not
    cause is logged with its traceback.
    """
    stopped = threading.Event()

    def once() -> None:
        try:
            work(stopped.is_set)
        except (psycopg.Error, PoolTimeout) as error:
            _log.log(failure_level, "%s failed: %s", name, words_of(error))
        except Exception:  # noqa: BLE001 - a mistake of ours must not end what repeats
            _log.exception("%s failed", name)

    def run() -> None:
        pause_s = 0.0
        while not stopped.wait(pause_s):
            began_s = time.monotonic()
            once()
            pause_s = max(every_s, (time.monotonic() - began_s) / share)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        while thread.is_alive():
            interrupt()
            thread.join(_INTERRUPTS_S)
        if at_end:
            once()
