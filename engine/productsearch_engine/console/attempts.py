"""Counts failed sign-ins, so that nobody can try many passwords.

Knows keys and a clock. Does not know what they stand for.
"""

from __future__ import annotations

import time
from collections import OrderedDict

from productsearch_engine.limits import SIGN_IN_KEYS_MAX, SIGN_IN_TRIES_S


class Attempts:
    """Tries by key within a window of time; used from the event loop only."""

    def __init__(self) -> None:
        self._tries: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def take(self, key: str, most: int) -> bool:
        """Count a try before it is made; False: there were too many."""
        now = time.monotonic()
        count, until = self._tries.get(key, (0, 0.0))
        if until <= now:
            count, until = 0, now + SIGN_IN_TRIES_S
        if count >= most:
            return False
        self._tries[key] = count + 1, until
        self._tries.move_to_end(key)
        if len(self._tries) > SIGN_IN_KEYS_MAX:
            self._tries.popitem(last=False)
        return True

    def give_back(self, key: str) -> None:
        """Forget a try that succeeded."""
        count, until = self._tries.get(key, (0, 0.0))
        if count > 1:
            self._tries[key] = count - 1, until
        else:
            self._tries.pop(key, None)
