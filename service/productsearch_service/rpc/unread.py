"""Answers that were handed to gRPC and not yet taken by their callers.

They hold no place that others need: the work is done. Each counts as one of its caller's own calls
until it is taken. All of them together are bounded, in calls and bytes: one more ends the oldest of
the caller that has the most.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from productsearch_service import limits
from productsearch_service.call_context import end_call

_CALLS: Final = 0
_BYTES: Final = 1


class Unread:
    """All answers that are not taken, the oldest first."""

    def __init__(self) -> None:
        self._answers: dict[asyncio.Task[None], tuple[str, int]] = {}
        self._bytes = 0

    @property
    def in_flight(self) -> tuple[int, int]:
        """Calls, and the bytes of their answers."""
        return len(self._answers), self._bytes

    def add(self, call: asyncio.Task[None], caller: str, size_bytes: int) -> None:
        """Count an answer; end others if they are too many or too large together."""
        self._answers[call] = caller, size_bytes
        self._bytes += size_bytes
        while self._bytes > limits.UNREAD_BYTES_MAX:
            self._end_oldest(by=_BYTES)
        while len(self._answers) > limits.UNREAD_MAX:
            self._end_oldest(by=_CALLS)

    def remove(self, call: asyncio.Task[None]) -> None:
        """Forget an answer that was taken, or ended."""
        _, size_bytes = self._answers.pop(call, ("", 0))
        self._bytes -= size_bytes

    def _end_oldest(self, *, by: int) -> None:
        held: Counter[str] = Counter()
        for caller, size_bytes in self._answers.values():
            held[caller] += size_bytes if by == _BYTES else 1
        ((most, _),) = held.most_common(1)
        oldest = next(call for call, (caller, _) in self._answers.items() if caller == most)
        self.remove(oldest)
        end_call(oldest)
