"""Where the service's log goes, and what never gets into it.

Secrets are kept out of messages at their source; this is the second line: whatever any library
logs, at any level, passes the redaction before it is written.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
import time
from typing import Final

from productsearch_service import audit, limits
from productsearch_service.redaction import redact
from productsearch_service.rpc import access_record
from productsearch_service.rpc.access_record import AccessRecord

_KEPT_S: Final = 0.01
"""How long a line waits for others; what a process that is killed may lose."""
_WHATEVER_THE_LEVEL: Final = (access_record.NAME, audit.__name__)
"""Lines of calls, which have a setting of their own, and the digests of the audit stream."""
_TIMES: Final = "%Y-%m-%dT%H:%M:%S%z"
_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class RedactingFormatter(logging.Formatter):
    """Formats a record, its traceback too, and masks the secrets in the whole text."""

    _second, _time = -1, ""

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record, AccessRecord):
            return record.as_text(self._at)
        if record.exc_info or record.exc_text or record.stack_info:
            return redact(super().format(record))
        told = f"{record.levelname} {record.name} {record.getMessage()}"
        return redact(f"{self._at(record.created)} {told}")

    def _at(self, at_s: float) -> str:
        """Return a time of the wall clock, to the second: many lines in a row have the same."""
        second = int(at_s)
        if second != self._second:
            self._second = second
            self._time = time.strftime(self.datefmt or _TIMES, self.converter(at_s))
        return self._time


class BatchingHandler(logging.Handler):
    """Writes to stderr in a thread of its own: whoever reads it may stop, and the disk may be full.

    Lines that the event loop logs in a hundredth of a second leave together, because a write for
    each would be the dearest part of a small call. Warnings and errors leave at once. Nobody waits
    for a write; what does not leave is lost, and a later line says how much.
    """

    def __init__(self) -> None:
        super().__init__()
        self._descriptor = sys.stderr.fileno()  # its buffer would hold a lock when the process ends
        self._lines: list[str] = []
        self._chars = self._lost = 0
        self._changed = threading.Condition()
        self._due = self._writing = False
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Have a record written."""
        try:
            loop = asyncio.get_running_loop() if record.levelno < logging.WARNING else None
        except RuntimeError:  # a thread, or no loop yet
            loop = None
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - whoever logs goes on, whatever is wrong with the record
            line = f"{record.levelname} {record.name} a message of this module cannot be formatted"
        with self._changed:
            if self._chars + len(line) > limits.LOG_CHARS_WAITING_MAX:
                self._lost += _count(line)
                return
            self._lines.append(line)
            self._chars += len(line)
            first = len(self._lines) == 1
        if loop is None:
            self._begin()
        elif first:
            loop.call_later(_KEPT_S, self._begin)

    def flush(self) -> None:
        """Wait until all is written, but not for long."""
        self._begin()
        with self._changed:
            self._changed.wait_for(lambda: not (self._lines or self._writing), limits.LOG_FLUSH_S)

    def _begin(self) -> None:
        with self._changed:
            self._due = True
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._due)
                lines, self._lines = self._lines, []
                lost, self._lost = self._lost, 0
                self._due, self._writing, self._chars = False, bool(lines), 0
            if lost:
                lines.insert(0, self._told_lost(lost))
            if lines and not self._is_written("\n".join(lines) + "\n"):
                with self._changed:
                    self._lost += lost + _count(*lines) - bool(lost)

    def _is_written(self, text: str) -> bool:
        try:
            left = memoryview(text.encode("utf-8", "replace"))
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:  # a full disk, no reader
            return False
        return True

    def _told_lost(self, lost: int) -> str:
        told = "%d lines were lost: they could not be written"
        return self.format(logging.LogRecord(__name__, logging.WARNING, "", 0, told, (lost,), None))


def _count(*texts: str) -> int:
    """Return the lines of texts; those of calls come together."""
    return sum(text.count("\n") + 1 for text in texts)


class JsonFormatter(RedactingFormatter):
    """Formats a record as one JSON object in a line; an RPC's fields are members of it.

    Text is masked before it is escaped: what is cut afterwards could cut an escape in two. The
    other fields of an RPC are numbers, and words of this service.
    """

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record, AccessRecord):
            return record.as_json(self._at)
        line = {"time": self._at(record.created), "level": record.levelname, "logger": record.name}
        line["message"] = redact(record.getMessage())
        if record.exc_info:
            line["traceback"] = redact(self.formatException(record.exc_info))
        return _encode(line)


def install(level: str, form: str = "auto") -> None:
    """Let the root logger write to stderr from ``level`` on, redacted.

    ``form`` is ``json``, ``text``, or ``auto``: text at a terminal, JSON elsewhere.
    """
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # not printed
    handler = BatchingHandler()
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    kind = RedactingFormatter if as_text else JsonFormatter
    handler.setFormatter(kind("%(asctime)s %(levelname)s %(name)s %(message)s", _TIMES))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _WHATEVER_THE_LEVEL:
        logging.getLogger(name).setLevel(min(logging.INFO, logging.getLogger().level))
