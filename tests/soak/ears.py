"""Listens to texts, exceptions, statuses and files, and notes where which secret was heard.

The frames of the soaks' own modules are left out: they hold secrets, and nobody ships them.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import traceback
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import requests

from tests.soak.secret_pieces import Pieces, spelled_out

_OWN: Final = Path(__file__).parent
_FOLDERS: Final = re.compile(r"/\S+/(?=[^/]+\.py:)")


class Ears:
    """Notes in which places which secret was heard. Thread-safe."""

    _BATCH_CHARS: Final = 1 << 18

    def __init__(self, pieces: Pieces) -> None:
        self.heard: Counter[tuple[str, str]] = Counter()
        """(sink, place and secret) -> how often."""
        self.texts: Counter[str] = Counter()
        self._pieces = pieces
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, str, str]] = []
        self._chars = 0

    def hear(self, sink: str, where: str, text: str) -> None:
        """Note a text of a sink; ``where`` says where in it, for whoever looks for the leak."""
        with self._lock:
            self._waiting.append((sink, where, text))
            self.texts[sink] += 1
            self._chars += len(text)
            if self._chars < self._BATCH_CHARS:
                return
        self.flush()

    def flush(self) -> None:
        """Look at what was heard: as a whole, and one by one only if something is in it."""
        with self._lock:
            waiting, self._waiting, self._chars = self._waiting, [], 0
        if not self._pieces.found("\n".join(text for _, _, text in waiting)):
            return
        for sink, where, text in waiting:
            for secret in self._pieces.found(text):
                with self._lock:
                    self.heard[sink, f"{_FOLDERS.sub('', where)}: {secret}"] += 1

    def exception(self, error: BaseException | None, of: str = "") -> None:
        """Hear everything that a tracker of errors could send of an exception."""
        if error is None:
            return
        whole = traceback.TracebackException(
            type(error), error, error.__traceback__, capture_locals=True
        )
        told = [str(error), repr(error), *whole.format_exception_only()]
        self.hear("exception text", f"{of}{type(error).__name__}", "\n".join(told))
        for frame in whole.stack:
            if Path(frame.filename).parent == _OWN:
                continue
            for name, shown in (frame.locals or {}).items():
                self.hear("local variable", f"{of}{frame.filename}:{frame.name} {name}", shown)
        for name, value in vars(error).items():
            self.hear("exception attribute", f"{of}{type(error).__name__}.{name}", repr(value))
        self.exception(error.__cause__, f"{of}cause ")
        self.exception(error.__context__, f"{of}context ")

    def status(self, where: str, code: object, details: object, trailers: object) -> None:
        """Hear what a caller gets."""
        told = f"{code} {details}"
        self.hear("status", where, told)
        self.hear("status, spelled out", where, spelled_out(told))
        self.hear("trailers", where, repr(trailers))


class Records(logging.Handler):
    """Hears log records as an error tracker takes them: before the redaction, with exceptions."""

    def __init__(self, ears: Ears) -> None:
        super().__init__()
        self._ears = ears

    def emit(self, record: logging.LogRecord) -> None:
        told = f"{record.getMessage()} {record.args!r}"
        self._ears.hear("log record", f"{record.levelname} {record.name}", told)
        if record.exc_info:
            self._ears.exception(record.exc_info[1], f"logged by {record.name}: ")


def hear_loop(loop: asyncio.AbstractEventLoop, ears: Ears) -> None:
    """Hear what an event loop is told of: tasks and transports that nobody waited for."""

    def told(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        for name, value in context.items():
            ears.hear("event loop", f"{context['message']}: {name}", repr(value))
        ears.exception(context.get("exception"), "event loop: ")
        loop.default_exception_handler(context)

    loop.set_exception_handler(told)


def hear_scraped(address: str, ears: Ears) -> None:
    """Hear everything that the port of metrics and probes answers."""
    for path in ("metrics", "livez", "readyz", "nothing"):
        ears.hear("metrics", f"/{path}", requests.get(f"http://{address}/{path}", timeout=10).text)


def print_leaks(ears: Ears) -> None:
    """Print each place that leaks, the worst first."""
    for (sink, where), count in ears.heard.most_common():
        print(f"leak: {sink}: {where}: {count} times")


def hear_file(path: Path, sink: str, pieces: Pieces, ears: Ears) -> None:
    """Hear a file of any size, line by line where there is something in it."""
    with path.open("rb") as file:
        for lines in iter(lambda: file.readlines(1 << 20), []):
            ears.texts[sink] += len(lines)
            if pieces.found(b"".join(lines)):
                _hear_lines(sink, lines, pieces, ears)


def _hear_lines(sink: str, lines: Iterable[bytes], pieces: Pieces, ears: Ears) -> None:
    for line in lines:
        for secret in pieces.found(line):
            ears.heard[sink, f"{logger_of(line.decode('utf-8', 'replace'))}: {secret}"] += 1


def logger_of(line: str) -> str:
    found = re.search(r"\b(DEBUG|INFO|WARNING|ERROR|CRITICAL) (\S+) (\S+ ?\S*)", line)
    return f"{found[1]} {found[2]}" if found else "a line without a logger"
