"""The facade's own word on when each RPC ended."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from tests.soak.cut_cases import AT_ITS_BOUND

_LOOK_S: Final = 0.1


class AccessLog(logging.Handler):
    """The facade's own word on when each RPC ended.

    grpc ends a caller's wait at its deadline whatever the facade does. Only the facade knows
    that it goes on working for nobody, and it writes a line at an RPC's end.
    """

    def __init__(self) -> None:
        super().__init__()
        self._logger = logging.getLogger("productsearch.access")
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def __enter__(self) -> AccessLog:
        self._before = self._logger.level
        self._logger.setLevel(logging.INFO)
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._before)

    def emit(self, record: logging.LogRecord) -> None:
        """Take lines."""
        for told in record.getMessage().splitlines():
            line = dict(word.split("=", 1) for word in told.split())
            if line["reason"] != AT_ITS_BOUND[1]:
                self._seconds[line["library"]].append(float(line["ms"]) / 1000)

    def seconds_of(self, library: str) -> list[float]:
        """Return how long each RPC of a library took that has ended."""
        return self._seconds[library]

    def hung(self, lines_due: Mapping[str, int], at_most_s: float) -> int:
        """Return how many libraries' last RPC took longer than that, or still does.

        Call it when the callers have their answers: what is under way then is late.
        """
        ends_s = time.monotonic() + at_most_s
        while self._missing(lines_due) and time.monotonic() < ends_s:
            time.sleep(_LOOK_S)
        missing = self._missing(lines_due)
        for library in missing:
            print(f"still under way after {at_most_s} s: an RPC of {library}")
        ended = [self._seconds[library][-1] for library in lines_due if library not in missing]
        return len(missing) + sum(seconds > at_most_s for seconds in ended)

    def _missing(self, lines_due: Mapping[str, int]) -> list[str]:
        return [name for name, lines in lines_due.items() if len(self._seconds[name]) < lines]
