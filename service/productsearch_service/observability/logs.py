"""Where the service's log goes, and what never gets into it.

Secrets are kept out of messages at their source; this is the second line: whatever any library
logs, at any level, passes the redaction before it is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from typing import Final

from productsearch_service.redaction import redact
from productsearch_service.rpc.access_record import AccessRecord

_KEPT_S: Final = 0.01
"""How long a line waits for others; what a process that is killed may lose."""
_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class RedactingFormatter(logging.Formatter):
    """Formats a record, its traceback too, and masks the secrets in the whole text."""

    _second, _time = 0, ""

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info or record.exc_text or record.stack_info:
            return redact(super().format(record))
        told = f"{record.levelname} {record.name} {record.getMessage()}"
        return redact(f"{self.formatTime(record, self.datefmt)} {told}")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Return the time, to the second: many lines in a row have the same."""
        if int(record.created) != self._second:
            self._second, self._time = int(record.created), super().formatTime(record, datefmt)
        return self._time


class BatchingHandler(logging.StreamHandler):  # type: ignore[type-arg] # generic in its types alone
    """Writes to stderr; lines that the event loop logs in a hundredth of a second leave together.

    A write for each line would be the dearest part of a small call. Warnings and errors are
    written at once.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        super().__init__()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or keep its line for a moment."""
        try:
            loop = asyncio.get_running_loop() if record.levelno < logging.WARNING else None
        except RuntimeError:  # a thread, or no loop yet
            loop = None
        self._lines.append(self.format(record))
        if loop is None:
            self.flush()
        elif len(self._lines) == 1:
            loop.call_later(_KEPT_S, self.flush)

    def flush(self) -> None:
        """Write what was kept."""
        with self.lock or contextlib.nullcontext():
            lines, self._lines = self._lines, []
            if lines:
                self.stream.write("\n".join(lines) + self.terminator)
            super().flush()


class JsonFormatter(RedactingFormatter):
    """Formats a record as one JSON object in a line; an RPC's fields are members of it.

    Text is masked before it is escaped: what is cut afterwards could cut an escape in two. The
    other fields of an RPC are numbers, and words of this service.
    """

    def format(self, record: logging.LogRecord) -> str:
        at = self.formatTime(record, self.datefmt)
        if isinstance(record, AccessRecord):
            return record.as_json(at)
        line = {"time": at, "level": record.levelname, "logger": record.name}
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
    handler.setFormatter(
        kind("%(asctime)s %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
