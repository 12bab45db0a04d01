"""Counts the calls in flight, and refuses one more when there are too many.

Does not know what calls do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from productsearch_engine.api import codes
from productsearch_engine.api.codes import ApiError


class InFlight:
    """Calls by app, at most ``most`` together; used from the event loop only.

    While more than half of the places are taken, each of ``n`` active apps has at most one part
    of ``n + 1``, and the last eighth of the places is for apps without a call in flight.
    """

    def __init__(self, most: int):
        self._most = most
        self._of_app: Counter[int] = Counter()
        self._all = 0

    @contextmanager
    def counted(self, app_id: int) -> Iterator[None]:
        """Count a call while it lasts. Raises ApiError 4."""
        if self._all >= self._most or (self._all >= self._most // 2 and self._has_enough(app_id)):
            raise ApiError(codes.REQUEST_LIMIT)
        self._all += 1
        self._of_app[app_id] += 1
        try:
            yield
        finally:
            self._all -= 1
            self._of_app[app_id] -= 1
            if not self._of_app[app_id]:
                del self._of_app[app_id]

    def _has_enough(self, app_id: int) -> bool:
        own = self._of_app[app_id]
        share = self._most // (len(self._of_app.keys() | {app_id}) + 1)
        return own >= share or (own > 0 and self._all >= self._most - self._most // 8)
