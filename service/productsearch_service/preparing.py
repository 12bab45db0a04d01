"""Large pictures are made ready one at a time: decoded, checked, made a form.

All of that needs the interpreter and a few copies of the picture. Two at a time would be no
sooner done, would make all small calls wait for both, and would hold those copies twice.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from productsearch_service import limits

if TYPE_CHECKING:
    from collections.abc import Iterator

_one = threading.Lock()


class _Turn(threading.local):
    """Whether it is this thread's turn."""

    mine = False


_turn = _Turn()


@contextmanager
def alone(size_bytes: int) -> Iterator[None]:
    """Wait for this thread's turn if that many bytes are large; it ends with ``done``, or here."""
    if size_bytes <= limits.LARGE_BYTES_MIN or _turn.mine:
        yield
        return
    _one.acquire()
    _turn.mine = True
    try:
        yield
    finally:
        done()


def done() -> None:
    """End this thread's turn, if it is its turn."""
    if _turn.mine:
        _turn.mine = False
        _one.release()
