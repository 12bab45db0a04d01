"""Starts the log, and keeps one kind of trouble from filling the disk.

Out of descriptors, without a database, or under attack, a server has the same trouble thousands
of times a second. One line a second tells as much. Access lines are no trouble and pass.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time

ACCESS = "productsearch_engine.access"
"""The logger of the lines of calls, which have a setting of their own and come at any level."""

_PAUSE_S = 1.0
_KINDS_MAX = 256
_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
_TIMES = "%Y-%m-%dT%H:%M:%S%z"
"""As the facade writes them: with the zone."""
# At level debug these libraries log what they send: images, keys, connection strings.
_TALKATIVE = ("psycopg", "python_multipart", "PIL", "asyncio")

_Kind = tuple[object, ...]


def start(level: str, form: str = "text") -> None:
    """Log to stderr from ``level`` on, warnings of Python included.

    form: ``json``, ``text``, or ``auto``: text at a terminal, JSON elsewhere.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(OnePerSecond())
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler.setFormatter((logging.Formatter if as_text else JsonFormatter)(_FORMAT, _TIMES))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.captureWarnings(True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    logging.getLogger(ACCESS).setLevel(min(logging.INFO, logging.getLevelName(level.upper())))


class Fields(dict[str, object]):
    """A message of named values: members of a JSON line, words of one for people."""

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.items())


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object in a line, as the facade does."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = self.formatTime(record, self.datefmt)
        line: dict[str, object] = {"time": at, "level": record.levelname, "logger": record.name}
        if isinstance(record.msg, Fields):
            line |= record.msg
        else:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, separators=(",", ":"))


class OnePerSecond(logging.Filter):
    """Lets one record a second of each kind of trouble pass; the next one tells how many did not.

    A kind is the line that logs, and the line that raised the exception. Safe for threads.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._kinds: dict[_Kind, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged."""
        if record.levelno < logging.WARNING:
            return True
        kind = _kind(record)
        with self._lock:
            now = time.monotonic()
            logged_s, left_out = self._kinds.get(kind, (-_PAUSE_S, 0))
            if now - logged_s < _PAUSE_S:
                self._kinds[kind] = (logged_s, left_out + 1)
                return False
            if len(self._kinds) >= _KINDS_MAX:
                self._kinds.clear()
            self._kinds[kind] = (now, 0)
        if left_out:
            record.msg = f"{record.msg} ({left_out} more like this since)"
        return True


def _kind(record: logging.LogRecord) -> _Kind:
    error = record.exc_info[1] if record.exc_info else None
    trace = error.__traceback__ if error else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    raised = (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace else ()
    return (record.pathname, record.lineno, type(error), *raised)
