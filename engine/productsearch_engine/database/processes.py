"""Reads and ends processes of PostgreSQL by what ``/proc`` says of them.

Without ``/proc``, as on macOS, no process is known to be PostgreSQL and none is ended.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_NAMES = ("postgres", "postmaster")
_END_S = 10


def exists(number: int) -> bool:
    """Return whether a process has this number."""
    return (_PROC / str(number)).exists()


def is_postgres(number: int) -> bool:
    """Return whether the process of this number is a PostgreSQL that has not ended."""
    return _name_if_alive(number) in _NAMES


def kill_with_children(postmaster: int) -> None:
    """End a server and all its processes at once, also those that are stopped.

    Waits until they are gone, because the next server needs their shared memory.
    """
    _send(postmaster, signal.SIGSTOP)  # it must start no more while its children are counted
    victims = [*_children(postmaster), postmaster]
    for number in victims:
        _send(number, signal.SIGKILL)
    ends_s = time.monotonic() + _END_S
    while any(is_postgres(number) for number in victims) and time.monotonic() < ends_s:
        time.sleep(0.05)


def _send(number: int, sent: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(number, sent)


def _children(parent: int) -> list[int]:
    found = []
    for folder in _PROC.glob("[0-9]*"):
        number = int(folder.name)
        with suppress(OSError, IndexError, ValueError):
            if int(_fields(number)[1]) == parent and is_postgres(number):
                found.append(number)
    return found


def _name_if_alive(number: int) -> str:
    with suppress(OSError, IndexError):
        if _fields(number)[0] != "Z":
            stat = (_PROC / str(number) / "stat").read_text()
            return stat.partition("(")[2].rpartition(")")[0]
    return ""


def _fields(number: int) -> list[str]:
    """Return what follows the name: state, parent and more. The name may hold parentheses."""
    return (_PROC / str(number) / "stat").read_text().rpartition(")")[2].split()
