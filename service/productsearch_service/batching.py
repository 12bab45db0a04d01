"""What is to be told of many calls, together and a moment later.

Done for each call by itself it takes eight times as long: its code and data have left the
processor's caches since the last one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from productsearch_service import limits

Item = TypeVar("Item")

_log = logging.getLogger(__name__)


class Batch(Generic[Item]):
    """Items that ``work`` gets soon, all of them together. Thread-safe."""

    def __init__(self, work: Callable[[list[Item]], object]) -> None:
        self._work = work
        self._waiting: deque[Item] = deque()
        self._working = threading.Lock()

    def add(self, item: Item) -> None:
        """Have ``work`` done with this item and others soon; at once where no event loop runs."""
        waiting = self._waiting
        waiting.append(item)
        count = len(waiting)
        if count == 1:
            try:
                asyncio.get_running_loop().call_later(limits.TOLD_WITHIN_S, self.carry_out)
            except RuntimeError:
                self.carry_out()
        elif count >= limits.TOLD_TOGETHER_MAX:
            self.carry_out()

    def carry_out(self) -> None:
        """Do the work with all that waits."""
        with self._working:  # what it counts is counted by one thread at a time
            items = []
            while self._waiting:
                try:
                    items.append(self._waiting.popleft())
                except IndexError:
                    break
            if not items:
                return
            try:
                self._work(items)
            except Exception:  # noqa: BLE001 - logged; whoever calls goes on
                _log.exception("counting or logging calls failed in an unforeseen way")


class Batches(Collector):
    """All batches of one registry. Its first collector, so that a scrape misses nothing."""

    def __init__(self) -> None:
        self._all: list[Batch[Any]] = []

    def of(self, work: Callable[[list[Item]], object]) -> Batch[Item]:
        """Return a new batch for this work."""
        batch = Batch(work)
        self._all.append(batch)
        return batch

    def carry_out(self) -> None:
        """Do all that waits."""
        for batch in self._all:
            batch.carry_out()

    def collect(self) -> Iterable[Metric]:
        """Return no metrics, and have those of the others complete."""
        self.carry_out()
        return ()
