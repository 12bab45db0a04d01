"""Shows how far an import is: one line that is rewritten in a terminal, else a line in 10 s."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from productsearch.cli.importing.pace import Pace
    from productsearch.cli.importing.tally import Tally

_TERMINAL_S: Final = 0.2
_PIPE_S: Final = 10.0
_WINDOW_S: Final = 30.0
"""The rate is that of the last half minute."""


class Progress:
    """Lines on stderr until it is cancelled; ``told`` is called with each line's facts."""

    def __init__(self, tally: Tally, pace: Pace, told: Callable[[float], None]) -> None:
        self._tally = tally
        self._pace = pace
        self._told = told
        self._seen = [(time.monotonic(), 0)]
        self._is_terminal = sys.stderr.isatty()

    async def run(self) -> None:
        """Show lines; returns when cancelled."""
        told_s = time.monotonic()
        try:
            while True:
                await asyncio.sleep(_TERMINAL_S if self._is_terminal else _PIPE_S)
                self._look()
                if self._is_terminal:
                    width = shutil.get_terminal_size().columns - 1
                    sys.stderr.write(f"\r\x1b[K{self.line()[:width]}")
                else:
                    sys.stderr.write(self.line() + "\n")
                sys.stderr.flush()
                if time.monotonic() - told_s >= _PIPE_S or not self._is_terminal:
                    told_s = time.monotonic()
                    self._told(self.rate())
        finally:
            if self._is_terminal:
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()

    def _look(self) -> None:
        now_s = time.monotonic()
        self._seen.append((now_s, self._tally.handled))
        while len(self._seen) > 2 and now_s - self._seen[0][0] > _WINDOW_S:
            del self._seen[0]

    def rate(self) -> float:
        """Return entries a second."""
        (begin_s, begin), (end_s, end) = self._seen[0], self._seen[-1]
        return (end - begin) / (end_s - begin_s) if end_s > begin_s else 0.0

    def line(self) -> str:
        """Return what there is to say."""
        tally, rate = self._tally, self.rate()
        dealt = tally.done + tally.all_rejected
        parts = [f"{dealt} done" if tally.total is None else f"{dealt} of {tally.total}"]
        if tally.total:
            parts.append(f"{100 * dealt / tally.total:.1f} %")
        parts.append(f"{rate:.1f}/s")
        if tally.all_rejected:
            parts.append(f"{tally.all_rejected} rejected")
        if self._pace.waiting_for:
            parts.append(f"waiting for {self._pace.waiting_for}")
        elif tally.left and rate:
            parts.append(f"{_duration(tally.left / rate)} left")
        return "  ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
