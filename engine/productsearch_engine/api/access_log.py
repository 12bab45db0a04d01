"""Records each answer: one access line and one count in the metrics.

A line has the method, the code, the time, the ``log_id`` and the trace of the caller. It has no
query, no token and no image.
"""

from __future__ import annotations

import logging
import time

from productsearch_engine.metrics import Metrics

_log = logging.getLogger("productsearch_engine.access")


class AccessLog:
    """Writes to the log and to ``metrics``; used from the event loop only."""

    def __init__(self, metrics: Metrics):
        self._metrics = metrics

    def record(
        self, method: str, code: int, log_id: int, began_s: float, trace_id: str = "-"
    ) -> None:
        """Record an answer; ``began_s`` is ``time.perf_counter()`` at the request's head.

        ``trace_id`` is the caller's, 32 hexadecimal digits.
        """
        seconds = time.perf_counter() - began_s
        self._metrics.count(method, code, seconds)
        told = "method=%s code=%d ms=%.1f log_id=%d trace_id=%s"
        _log.info(told, method, code, seconds * 1e3, log_id, trace_id)
