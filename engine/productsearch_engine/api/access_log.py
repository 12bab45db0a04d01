"""Records each answer, and each call that was left: one access line and one count.

A line has the library, the method, the code, the times, the ``log_id`` and the trace of the caller.
Of a download that failed it has the host and the cause. It has no query, no token and no image.
"""

from __future__ import annotations

import logging
import random
import time
from importlib.metadata import version

from productsearch_engine.images.errors import DownloadFailure
from productsearch_engine.logs import ACCESS, Fields
from productsearch_engine.metrics import Metrics
from productsearch_engine.traces import Trace

_PARTS = ("process_wait", "decode", "embed", "copy", "connection_wait", "sql")
LEFT = 499
"""In place of a code: the caller left. No answer has it; nginx calls it so."""
_VERSION = version("productsearch-engine")
_log = logging.getLogger(ACCESS)


class AccessLog:
    """Writes to the log and to ``metrics``; used from the event loop only.

    successes: the share of successful calls that have a line, 0 to 1. Each failed call has one.
    """

    def __init__(self, metrics: Metrics, successes: float = 1.0):
        self._metrics = metrics
        self._successes = successes

    def record(
        self,
        method: str,
        code: int,
        log_id: int,
        began_s: float,
        trace: Trace | None = None,
        failure: DownloadFailure | None = None,
    ) -> None:
        """Record an answer; ``began_s`` is ``time.perf_counter()`` at the request's head.

        trace: the call with its parts; None: it has none. failure: of the download of its image.
        """
        seconds = time.perf_counter() - began_s
        has_span = trace is not None and trace.recorded
        self._metrics.count(method, code, seconds, trace.trace_id if trace and has_span else "")
        if code or random.random() < self._successes:  # noqa: S311 - no secret
            _write(method, code, log_id, seconds, trace, failure)

    def left(self, method: str, log_id: int, began_s: float, trace: Trace) -> None:
        """Record a call whose caller left before it was done: it has no answer."""
        self._metrics.count_left(method, LEFT)
        _write(method, LEFT, log_id, time.perf_counter() - began_s, trace)


def _write(
    method: str,
    code: int,
    log_id: int,
    seconds: float,
    trace: Trace | None,
    failure: DownloadFailure | None = None,
) -> None:
    spent_s = trace.spent_s if trace is not None else {}
    parts = {f"{part}_ms": round(spent_s.get(part, 0.0) * 1e3, 1) for part in _PARTS}
    fields = Fields(
        method=method,
        library=(trace and trace.library) or "-",
        code=code,
        ms=round(seconds * 1e3, 1),
        **parts,
        log_id=log_id,
        trace_id=(trace and trace.trace_id) or "-",
        version=_VERSION,
    )
    if failure is not None:
        fields |= {"url_host": failure.host, "url_cause": failure.cause}
    _log.info(fields)
