"""Who is next among those who wait: each key in rotation, its own in the order they came.

Nobody who has many waiting is served before somebody who has few. Knows keys. Does not know
what waits.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

_Waiting = TypeVar("_Waiting")


class Turns(Generic[_Waiting]):
    """A queue for each key."""

    def __init__(self) -> None:
        self._queues: OrderedDict[int, deque[_Waiting]] = OrderedDict()

    def put(self, key: int, waiting: _Waiting) -> None:
        """Let ``waiting`` wait behind the others of its key."""
        self._queues.setdefault(key, deque()).append(waiting)

    def put_back(self, key: int, waiting: _Waiting) -> None:
        """Let ``waiting`` be the next one: it was taken, and could not be served."""
        self._queues.setdefault(key, deque()).appendleft(waiting)
        self._queues.move_to_end(key, last=False)

    def take(self) -> _Waiting | None:
        """Return the next one, None if nobody waits. Its key comes last from now on."""
        if not self._queues:
            return None
        key, queue = self._queues.popitem(last=False)
        taken = queue.popleft()
        if queue:
            self._queues[key] = queue
        return taken

    def __bool__(self) -> bool:
        return bool(self._queues)
