"""Bounds what strangers can do: failed sign-ins, and requests under way, by address or name.

Knows keys and a clock. Does not know what is tried.
"""

from __future__ import annotations

import ipaddress
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from productsearch_engine.limits import SIGN_IN_KEYS_MAX, SIGN_IN_TRIES_S

_NETWORK_BITS = 64
"""Of an IPv6 address: whoever has one has all others of its network."""


def counted_as(address: str) -> str:
    """Return what stands for a client's address where clients are counted."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    if known.version == 4:
        return address
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ipaddress.ip_network((int(known), _NETWORK_BITS), strict=False))


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


class Places:
    """Places at the same time, of which a key has a few; used from the event loop only."""

    def __init__(self, most: int, of_one: int):
        self._most = most
        self._of_one = of_one
        self._taken: Counter[str] = Counter()

    @contextmanager
    def take(self, key: str) -> Iterator[bool]:
        """Take a place; it yields whether there was one."""
        has_place = self._taken.total() < self._most and self._taken[key] < self._of_one
        self._taken[key] += has_place
        try:
            yield has_place
        finally:
            self._taken[key] -= has_place
            if not self._taken[key]:
                del self._taken[key]
