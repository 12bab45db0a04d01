"""Counts answers and their time, in Prometheus' text format.

It imports nothing of the engine because ``api`` writes it and ``server`` reads it. Knows the
names of methods and the numbers of codes. Does not know HTTP.
"""

from __future__ import annotations

from collections import Counter

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters of one process; used from the event loop only."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[str, int]] = Counter()
        self._seconds: Counter[str] = Counter()

    def count(self, method: str, code: int, seconds: float) -> None:
        """Count one answer. ``code`` 0 is success; 400, 401 and 500 are the token endpoint's."""
        self._calls[method, code] += 1
        self._seconds[method] += seconds  # type: ignore[assignment]

    def text(self) -> str:
        """Return all counters in Prometheus' text format."""
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
