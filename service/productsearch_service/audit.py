"""The audit stream: who added, changed or deleted what, when, and with what result.

One JSON line for each write, in a file of its own. Each line holds the digest of the line before
and its own, so that a line that was changed, removed or put in is found (``audit_chain``). Who can
write the file can also write it anew: the log names a digest now and then, and logs are kept
elsewhere.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from productsearch_service import limits
from productsearch_service.audit_chain import BEGIN, FIRST, LINE, digest
from productsearch_service.redaction import redact

_log = logging.getLogger(__name__)

_TAIL_BYTES: Final = 65_536
_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Write:
    """A write that has ended. ``sign`` is empty where only the upstream knows it."""

    caller: str
    library: str
    action: str
    sign: str
    result: str
    log_id: int
    at_s: float


class Audit:
    """Appends writes to ``path``, in a thread: the volume that it is on may hang.

    Raises OSError if the file cannot be opened, or another service writes it: the two chains in it
    would break each other. A line is on the disk moments after the answer to
    its call. If the disk does not keep up, writes are lost, and a line of the stream says how many;
    the log has a line when that begins, and one when it is over.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._file = _opened(path)
        self._seq, self._previous, self._is_torn = _end(path)
        self._is_new = False
        """Whether nothing has been written to the file since a rotation."""
        self.written = 0
        """Lines since the start."""
        self._refused = self._unwritten = self._told_lost = 0
        self._lost_before: int | None = None
        """Lost lines before those that are being lost now; None: none are."""
        self._lost_at_s = 0.0
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Return how many writes have no line."""
        return self._refused + self._unwritten

    def record(self, write: Write) -> None:
        """Have a line written; returns at once."""
        if self._queue.qsize() >= limits.AUDIT_WAITING_MAX:
            self._lose("the disk does not keep up")
            self._refused += 1
        else:
            self._queue.put(write)

    def close(self) -> None:
        """Write what waits, and end; blocks while the volume hangs, up to some seconds."""
        self._queue.put(None)
        self._thread.join(limits.AUDIT_CLOSE_S)
        self._tell_lost("at the end")
        _log.info("audit_file: ends with line %d, digest %s", self._seq, self._previous)

    def _run(self) -> None:
        _log.info("audit_file: goes on after line %d, digest %s", self._seq, self._previous)
        going_on = True
        while going_on:
            waiting = self._waiting()
            going_on = None not in waiting
            try:
                self._append([write for write in waiting if write is not None])
            except Exception as error:  # noqa: BLE001 - without the thread all later lines are lost
                if lost := len(waiting) - (not going_on):
                    unforeseen = "a line cannot be written, in an unforeseen way"
                    self._lose(error.strerror if isinstance(error, OSError) else unforeseen)
                    self._unwritten += lost
            else:
                self._tell_calm()
        self._file.close()

    def _waiting(self) -> list[Write | None]:
        """Return what waits to be written, as soon as there is something.

        Meanwhile a file that was renamed is followed: a new one that a service only begins at its
        next start would begin another chain.
        """
        while True:
            try:
                waiting = [self._queue.get(timeout=limits.AUDIT_LOOK_S)]
            except queue.Empty:
                with suppress(OSError):  # it is told of once there is something to write
                    self._append([])
                    self._tell_calm()
                continue
            while not self._queue.empty():
                waiting.append(self._queue.get())
            return waiting

    def _lose(self, cause: str | None) -> None:
        """Log the first of lost lines; before they are counted."""
        self._lost_at_s = time.monotonic()
        if self._lost_before is None:
            self._lost_before = self.lost
            told = "audit_file: %s: %s; lines are being lost, and one will say how many"
            _log.error(told, self._path, cause)

    def _tell_calm(self) -> None:
        if time.monotonic() - self._lost_at_s >= limits.AUDIT_CALM_S:
            self._tell_lost("lines are written again")

    def _tell_lost(self, when: str) -> None:
        if self._lost_before is not None:
            lost, self._lost_before = self.lost - self._lost_before, None
            _log.warning("audit_file: %s: %s; %d were lost", self._path, when, lost)

    def _append(self, writes: list[Write]) -> None:
        """Write the lines of ``writes`` as a whole, or nothing. Raises OSError."""
        self._is_new |= self._follow_rotation()
        lost = self.lost - self._told_lost
        size, before = os.fstat(self._file.fileno()).st_size, (self._seq, self._previous)
        try:
            lines = [self._line({"lost": lost})] if lost else []
            lines += [self._line(_members(write)) for write in writes]
            if self._is_new and not lines and self._seq:
                lines = [self._line({"time": _time(time.time()), "action": "rotate"})]
            if not lines:
                return
            # A line that was cut off stays as it is, and apart.
            left = memoryview(("\n" * self._is_torn + "".join(lines)).encode())
            while left:
                left = left[os.write(self._file.fileno(), left) :]
            os.fsync(self._file.fileno())
        except Exception:
            self._seq, self._previous = before
            self._take_back(size)
            raise
        self._told_lost += lost
        self._is_new = self._is_torn = False
        if before[0] // limits.AUDIT_TOLD_EVERY != self._seq // limits.AUDIT_TOLD_EVERY:
            _log.info("audit_file: is at line %d, digest %s", self._seq, self._previous)
        self.written += len(writes)

    def _take_back(self, size: int) -> None:
        """Cut off what was written past ``size``; if that fails too, go on after it."""
        try:
            os.ftruncate(self._file.fileno(), size)
        except OSError:
            with suppress(OSError):
                seq, previous, self._is_torn = _end(self._path)
                if seq > self._seq:
                    self._seq, self._previous = seq, previous

    def _line(self, members: dict[str, str | int]) -> str:
        self._seq += 1
        text = _encode({"seq": self._seq} | members | {"previous": self._previous})
        self._previous = digest(text[:-1])
        return f'{text[:-1]},"digest":"{self._previous}"}}\n'

    def _follow_rotation(self) -> bool:
        """Open the file anew if another one has its name, or none; the chain goes on there.

        Returns whether it is a new one.
        """
        try:
            here = os.fstat(self._file.fileno()).st_ino == self._path.stat().st_ino
        except FileNotFoundError:
            here = False
        if not here:
            file = _open(self._path)  # while this fails the old one stays
            self._file.close()
            self._file = file
        return not here


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")


def _members(write: Write) -> dict[str, str | int]:
    return {
        "time": _time(write.at_s),
        "caller": redact(write.caller),
        "library": write.library,
        "action": write.action,
        "sign": write.sign,
        "result": write.result,
        "log_id": write.log_id,
    }


def wrong_content(path: Path) -> str:
    """Return why a file cannot be gone on with: it holds something else. Nothing: it can."""
    if not path.is_file():
        return ""
    tail = _tail(path)
    if not tail.strip() or tail.startswith(BEGIN) or any(map(LINE.fullmatch, tail.split("\n"))):
        return ""
    return "holds something else than an audit stream; give the stream a file of its own"


def _tail(path: Path) -> str:
    with path.open("rb") as read:
        read.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return read.read().decode("utf-8", "replace")


def writer_of(path: Path) -> int | None:
    """Return the process that holds the lock of a stream, as Linux tells; None: not known."""
    with suppress(OSError, ValueError, IndexError):
        number = path.stat().st_ino
        for line in Path("/proc/locks").read_text("ascii").splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and int(fields[5].rpartition(":")[2]) == number:
                return max(0, int(fields[4])) or None  # of another container it tells no number
    return None


def _lock(file: IO[bytes], path: Path) -> None:
    """Keep other services from the file until it is closed, or this process ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        writer = writer_of(path)
        who = f"another service, process {writer}" if writer else "another service"
        told = f"is written by {who}; give each its own file"
        raise BlockingIOError(errno.EAGAIN, told) from None
    except OSError as error:  # a file system without locks
        _log.warning("audit_file: %s cannot be locked: %s", path, error.strerror)


def _open(path: Path) -> IO[bytes]:
    """Open a file to append to, for its owner and this process alone; raise OSError.

    A pipe or a device is refused: it has no lines that could be looked at again.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(None, "is no ordinary file")
    file = os.fdopen(os.open(path, flags, 0o600), "ab", buffering=0)
    try:
        _lock(file, path)
        # Of what was opened, whatever has its name now.
        os.chmod(file.fileno(), 0o600)  # noqa: PTH101
    except OSError:
        file.close()
        raise
    return file


def _opened(path: Path) -> IO[bytes]:
    """Return the file, opened to append to."""
    if wrong := wrong_content(path):
        raise OSError(None, wrong)
    return _open(path)


def _end(path: Path) -> tuple[int, str, bool]:
    """Return number and digest of the last whole line, and whether a part of one follows."""
    tail = _tail(path)
    found = [line for line in map(LINE.fullmatch, tail.split("\n")) if line is not None]
    is_torn = bool(tail) and not tail.endswith("\n")
    return (int(found[-1][2]), found[-1][4], is_torn) if found else (0, FIRST, is_torn)
