"""Knows at any time whether the database answers and has room: no call finds out by waiting.

A thread asks the database again and again over a connection of its own. Callers read the outcome
without a wait. Does not know who uses the database.
"""

from __future__ import annotations

import logging
import math
import threading
import time

import psycopg

from productsearch_engine.database.bounded import BoundedConnection
from productsearch_engine.database.cause import cause_of, place_of
from productsearch_engine.database.disk import Disk
from productsearch_engine.limits import (
    DATABASE_CONNECT_S,
    DATABASE_GIVE_UP_S,
    DATABASE_PROBE_S,
    DATABASE_PROBE_WAIT_S,
    DISK_FULL_S,
)

_log = logging.getLogger(__name__)


class Watch:
    """Watches one database from ``start`` to ``stop``; safe for threads."""

    def __init__(self, dsn: str, disk: Disk | None = None):
        self._dsn = dsn
        self._disk = disk
        self._disk_full_s = -math.inf
        self._disk_told = False
        self._connection: BoundedConnection | None = None
        self._answered_s = time.monotonic()
        self._asked_s: float | None = None
        self._down_since_s: float | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="database watch", daemon=True)

    def start(self) -> None:
        """Start to watch; the database counts as up until it fails to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching and close the connection."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._connection is not None:
            self._connection.close()

    @property
    def is_down(self) -> bool:
        """Whether the database did not answer when it was last asked, or does not now."""
        if self._down_since_s is not None:
            return True
        # A new connection may take longer than an answer may, and psycopg waits for no less.
        asked_s = self._asked_s
        late = asked_s is not None and time.monotonic() - asked_s > DATABASE_PROBE_WAIT_S
        return late and self._answered_s < (asked_s or 0)

    def has_given_up(self) -> bool:
        """Return whether the database is down for so long that waits under way are useless."""
        since = self._down_since_s
        return since is not None and time.monotonic() - since > DATABASE_GIVE_UP_S

    def note_answer(self) -> None:
        """Take notice that the database has answered somebody."""
        self._answered_s = time.monotonic()
        self._down_since_s = None

    def note_full_disk(self) -> None:
        """Take notice that a statement failed because the database's disk is full."""
        self._disk_full_s = time.monotonic()
        if not self._disk_told:
            self._disk_told = True
            told = "%s: its disk is full; adds are refused, and one is tried every %.0f s"
            _log.error(told, place_of(self._dsn), DISK_FULL_S)

    def disk_is_full(self) -> bool:
        """Return whether the disk has no room for another image, as far as is known."""
        return (self._disk is not None and self._disk.is_full) or (
            time.monotonic() - self._disk_full_s < DISK_FULL_S
        )

    def shortage(self, needed_bytes: int) -> str | None:
        """Return why so many bytes more would let the disk run full, or None if they fit.

        Of a database elsewhere it is only known whether a statement failed for want of room.
        """
        if self.disk_is_full():
            return "the database's disk is full"
        free = None if self._disk is None else self._disk.free_bytes
        if free is None or needed_bytes <= free:
            return None
        needed, mib = -(-needed_bytes >> 20), free >> 20
        return f"about {needed} MiB more are needed, and the database's disk has {mib} MiB for it"

    def _run(self) -> None:
        while not self._stopped.wait(DATABASE_PROBE_S):
            self._ask()
            # An add is tried after a while, and tells if it is full still.
            if self._disk_told and time.monotonic() - self._disk_full_s > 2 * DISK_FULL_S:
                self._disk_told = False
                _log.warning("%s: no add has found its disk full since", place_of(self._dsn))

    def _ask(self) -> None:
        self._asked_s = asked_s = time.monotonic()
        try:
            if self._connection is None or self._connection.closed:
                self._connection = _connect(self._dsn)
            self._connection.execute("select 1")
        except psycopg.Error as error:
            self._connection = None
            # One that has answered somebody in the meantime is slow to this thread alone.
            if self._answered_s < asked_s and self._down_since_s is None:
                self._down_since_s = time.monotonic()
                _log.error("the database does not answer: %s", cause_of(error, self._dsn))
        else:
            if self._down_since_s is not None:  # as was said
                _log.warning("the database answers again")
            self.note_answer()
        finally:
            self._asked_s = None


def _connect(dsn: str) -> BoundedConnection:
    connection = BoundedConnection.connect(dsn, autocommit=True, connect_timeout=DATABASE_CONNECT_S)
    connection.limit_s = DATABASE_PROBE_WAIT_S
    return connection
