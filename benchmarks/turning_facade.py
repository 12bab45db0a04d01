"""The facade, which tells of its calls by turns: of none, in metrics and lines, and in spans too.

The service has no such setting; a measure needs it to compare with. All turns are of one process:
two that run the same code differ by more than what is measured.

``TURNS_FILE`` names where the CPU seconds of a call are written after each round, as JSON: a list
of rounds with a value for each mode. It needs ``traces_endpoint``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import sys
import time
from pathlib import Path
from typing import Any, Final

from productsearch_service import cli
from productsearch_service.batching import Batch
from productsearch_service.counters import LibraryCounters
from productsearch_service.observability.traces import Spans
from productsearch_service.rpc.interceptor import Interceptor
from productsearch_service.server import compose
from productsearch_service.traces import Tracer

BLIND: Final = "no metrics, no lines"
SEEN: Final = "metrics and lines"
SHARES: Final = {"and 1 % of the calls traced": 0.01, "and all calls traced": 1.0}
MODES: Final = (BLIND, SEEN, *SHARES)
FILE: Final = "TURNS_FILE"
_SETTLE_S: Final = 0.02
"""Calls that began before the turn end in it."""
_TURN_S: Final = 0.15
_CALLS_MIN: Final = 20


class _Turns:
    """What is told now, and what that costs."""

    def __init__(self) -> None:
        self.is_blind = False
        self.calls = 0
        self.batches: list[Any] = []
        self.interceptors: list[Interceptor] = []
        self.spans: list[Spans] = []

    async def run(self) -> None:
        """Take turns until the process ends, in another order in each round."""
        rounds: list[dict[str, float]] = []
        while True:
            costs = {mode: await self._cost_s(mode) for mode in random.sample(MODES, len(MODES))}
            if all(costs.values()):
                rounds.append({mode: costs[mode] for mode in MODES})
                Path(os.environ[FILE]).write_text(json.dumps(rounds))

    async def _cost_s(self, mode: str) -> float:
        self.is_blind = mode == BLIND
        share, (spans,) = SHARES.get(mode), self.spans
        for interceptor in self.interceptors:
            interceptor.tracer = None if share is None else Tracer(share, spans.export)
        await asyncio.sleep(_SETTLE_S)
        self._tell_all()
        calls, began_s = self.calls, time.process_time()
        await asyncio.sleep(_TURN_S)
        self._tell_all()
        calls = self.calls - calls
        return (time.process_time() - began_s) / calls if calls >= _CALLS_MIN else 0.0

    def _tell_all(self) -> None:
        """Carry out what is told later: it belongs to this turn."""
        for batch in self.batches:
            batch.carry_out()
        for spans in self.spans:
            spans.flush()
        for handler in logging.getLogger().handlers:
            handler.flush()


def _take_turns(turns: _Turns) -> None:
    """Let the facade do as ``turns`` says."""

    def remembered(kind: Any, known: list[Any]) -> None:
        begin = kind.__init__

        def init(self: Any, *arguments: Any, **options: Any) -> None:
            begin(self, *arguments, **options)
            known.append(self)

        kind.__init__ = init

    def silenced(kind: Any, name: str, *, counts: bool = False) -> None:
        real = getattr(kind, name)

        def tell(self: Any, *arguments: Any, **options: Any) -> None:
            turns.calls += counts
            if not turns.is_blind:
                real(self, *arguments, **options)

        setattr(kind, name, tell)

    remembered(Batch, turns.batches)
    remembered(Interceptor, turns.interceptors)
    remembered(Spans, turns.spans)
    silenced(Batch, "add", counts=True)
    for name in ("post", "paced", "retry", "breaker_refused", "token"):
        silenced(LibraryCounters, name)
    start = compose.Server.start
    tasks = []

    async def start_and_turn(self: compose.Server) -> None:
        await start(self)
        tasks.append(asyncio.create_task(turns.run()))

    compose.Server.start = start_and_turn  # type: ignore[method-assign] # no other way in


def _main() -> int:
    _take_turns(_Turns())
    return cli.main()


if __name__ == "__main__":
    sys.exit(_main())
