"""Watches the disk of the embedded PostgreSQL, so that a full one stops adds and nothing else.

A PostgreSQL that cannot write its log stops altogether, searches included, and cannot recover
either. Adds are therefore refused while there is still room for the log, and a reserve file is
given up when others fill the disk to the last. Knows files and free space. Does not know
PostgreSQL.
"""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

from productsearch_engine.limits import (
    DISK_FREE_LAST,
    DISK_FREE_MIN,
    DISK_RESERVE_BYTES,
)

_log = logging.getLogger(__name__)


class Disk:
    """The disk that the folder ``data`` is on; safe for threads, watched by one."""

    def __init__(self, data: Path):
        self._data = data
        self._reserve = data / "postgres.reserve"
        self._full = False

    @property
    def is_full(self) -> bool:
        """Whether there was too little room for further images when it was last looked at."""
        return self._full

    @property
    def free_bytes(self) -> int:
        """How many bytes may be taken before adds are refused; looks at the disk."""
        return max(0, shutil.disk_usage(self._data).free - DISK_FREE_MIN - DISK_RESERVE_BYTES)

    def look(self) -> None:
        """Look at the free space; make or give up the reserve."""
        free = shutil.disk_usage(self._data).free
        was_full = self._full
        self._full = free < DISK_FREE_MIN + (DISK_RESERVE_BYTES if was_full else 0)
        if self._full and not was_full:
            told = "the disk of %s is full: %d MiB are free, adds are refused"
            _log.error(told, self._data, free >> 20)
        elif was_full and not self._full:
            told = "the disk of %s has room again: %d MiB are free, adds are taken"
            _log.warning(told, self._data, free >> 20)
        if free < DISK_FREE_LAST:
            self._reserve.unlink(missing_ok=True)
        elif free > DISK_FREE_MIN + 2 * DISK_RESERVE_BYTES and not self._reserve.exists():
            self._make_reserve()

    def _make_reserve(self) -> None:
        try:
            with self._reserve.open("xb") as made:
                os.posix_fallocate(made.fileno(), 0, DISK_RESERVE_BYTES)
        except FileExistsError:
            pass  # another engine was first
        except OSError as error:
            _log.warning("no reserve on the disk: %s", error.strerror)
            with suppress(OSError):
                self._reserve.unlink()
