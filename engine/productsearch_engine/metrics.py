"""Counts what was answered, in Prometheus' text format.

Knows calls and codes. Counts a call once its answer is made, whatever the answer is.
"""

from __future__ import annotations

from collections import Counter

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters of one process; used from the event loop alone."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[str, int]] = Counter()
        self._seconds: Counter[str] = Counter()

    def count(self, method: str, code: int, seconds: float) -> None:
        """Count one answer: ``code`` 0 is success, 401 and 400 are the token endpoint's."""
        self._calls[method, code] += 1
        self._seconds[method] += seconds  # type: ignore[assignment]

    def text(self) -> str:
        """Return all counters."""
        lines = [
            "# HELP productsearch_engine_requests_total Answers by method and error code.",
            "# TYPE productsearch_engine_requests_total counter",
        ]
        lines += [
            f'productsearch_engine_requests_total{{method="{method}",code="{code}"}} {number}'
            for (method, code), number in sorted(self._calls.items())
        ]
        lines += [
            "# HELP productsearch_engine_request_seconds_total Time from head to answer.",
            "# TYPE productsearch_engine_request_seconds_total counter",
        ]
        lines += [
            f'productsearch_engine_request_seconds_total{{method="{method}"}} {seconds:.6f}'
            for method, seconds in sorted(self._seconds.items())
        ]
        return "\n".join(lines) + "\n"
