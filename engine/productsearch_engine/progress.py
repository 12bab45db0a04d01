"""What a person is told while a command works: how much is done, and the time left."""

from __future__ import annotations

import sys
import time

_BAR = 30
_LINE_S = 10.0


class Bar:
    """A bar on a terminal; elsewhere a line every ten seconds. ``of`` what, in ``unit``."""

    def __init__(self, says: str, of: int, began: int = 0):
        self._says = says
        self._of = max(of, 1)
        self._began = began
        self._began_s = self._said_s = time.monotonic()
        self._ended = False

    def __call__(self, done: int, more: str = "") -> None:
        """Say how much is done."""
        now_s = time.monotonic()
        ends = done >= self._of
        pause_s = 0.2 if sys.stderr.isatty() else _LINE_S
        if self._ended or (now_s - self._said_s < pause_s and not ends):
            return
        self._said_s, self._ended = now_s, ends
        text = f"{self._says}: {100 * min(done, self._of) // self._of} %{more}{self._left(done)}"
        if sys.stderr.isatty():
            full = _BAR * min(done, self._of) // self._of
            bar = "#" * full + "." * (_BAR - full)
            print(f"\r[{bar}] {text}\x1b[K", end="\n" if ends else "", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Say that all is done."""
        self(self._of)

    def _left(self, done: int) -> str:
        new = done - self._began
        if new <= 0 or done >= self._of:
            return ""
        seconds = (time.monotonic() - self._began_s) / new * (self._of - done)
        return f", {duration(seconds)} left"


def duration(seconds: float) -> str:
    """Return a time in words."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
