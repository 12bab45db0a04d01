"""One load at this checkout's facade and at that of another commit: ``--against REV MEASURE``.

Both are called in turns, in one run. What is told of each value is the median of the turns' ratios,
here over there, with the middle half of them. There is no bar: a change stays if it helps.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks import clocks, images, mixed, stage
from benchmarks.beside import Beside, at, sender
from benchmarks.checkout import Checkout, here
from benchmarks.findings import Findings
from benchmarks.load import Command
from demo.facade import Facade
from tests.soak.probing import probed

Values = Mapping[str, float]
"""What one turn came to, by name."""
_HERE, _THERE = "here", "there"
_SEARCH: Final = "/productsearch.v1.ProductSearch/SearchImages"
_CROWD: Final = ("--count=12000", "--connections=12")
_CROWD_S: Final = 8.0


@dataclass(frozen=True)
class Loads:
    """The processes that call."""

    one: stage.Load
    other: stage.Load

    def mixed(self, facade: Facade) -> Values:
        """Return the milliseconds of a small search beside large adds, and these a second."""
        searches, adds = mixed.beside(facade, self.one, self.other)
        return {
            "p50 [ms]": searches.p50_s * 1000,
            "p99 [ms]": searches.p99_s * 1000,
            "adds/s": adds.per_s,
        }

    def cost(
        self, facade: Facade, *, rpc: str, size: str, callers: int, seconds: float = 1.0
    ) -> Values:
        """Return what one call costs, and how long it takes."""
        made = self.one.run(
            Command(
                kind="grpc",
                target=facade.url,
                bearer=stage.BEARER,
                size=images.SIZES[size],
                callers=callers,
                seconds=seconds,
                warm_s=stage.WARM_S,
                rpc=rpc,
            ),
            facade,
        )
        return {
            "CPU of a call [us]": made.cost_s * 1e6,
            "calls/s": made.per_s,
            "p50 [ms]": made.p50_s * 1000,
            "p99 [ms]": made.p99_s * 1000,
        }

    def probes(self, facade: Facade) -> Values:
        """Return the milliseconds of health and metrics beside 256 callers of 2.9 MB."""
        with probed(facade.admin, facade.metrics) as answers:
            made = self.cost(facade, rpc="search", size="2.9 MB", callers=256, seconds=3.0)
        return {
            "health p99 [ms]": at(sorted(answers.health_s), 0.99) * 1000,
            "metrics p99 [ms]": at(sorted(answers.metrics_s), 0.99) * 1000,
            "searches/s": made["calls/s"],
        }

    def crowded(self, facade: Facade) -> Values:
        """Return the milliseconds of others' searches beside 12,000 calls that say nothing."""
        with Beside(facade, stage.BEARER) as searcher, sender(facade, _SEARCH, *_CROWD) as crowd:
            searcher.told()
            crowd.begin()
            time.sleep(_CROWD_S)
            told = searcher.told()
        if set(told["outcomes"]) != {"OK"}:
            raise AssertionError(f"searches failed: {told['outcomes']}")
        times = told["search_s"]
        return {"p99 [ms]": at(times, 0.99) * 1000, "longest [ms]": times[-1] * 1000}


_DELAYS_MS: Final = {"added": 50.0, "probes": 300.0}
"""Of the upstream; elsewhere it answers at once."""
MEASURES: Final = ("mixed", "added", "search", "large_add", "small_add", "probes", "crowded")


def run(rounds: int, revision: str, measure: str) -> Findings:
    """Measure one load at both. Raises CheckoutError."""
    other = Checkout.of(revision)
    rows = [(f"{measure}: {here()} and {other.sha[:7]}", _HERE, _THERE, "here / there", "half")]
    turns = _measure(rounds, other, measure)
    for name in turns[_HERE][0]:
        values = {who: [each[name] for each in of_who] for who, of_who in turns.items()}
        spread = clocks.Spread.of(clocks.ratios(values[_HERE], values[_THERE]))
        middle = {who: f"{statistics.median(of_who):.2f}" for who, of_who in values.items()}
        half = f"{spread.low:.2f} to {spread.high:.2f}"
        rows.append((name, middle[_HERE], middle[_THERE], f"{spread.median:.3f}", half))
    return Findings(title=f"{measure} against {other.sha[:7]}", rows=rows, measures=[])


def _measure(rounds: int, other: Checkout, measure: str) -> dict[str, list[Values]]:
    with ExitStack() as stack:
        delay_ms = _DELAYS_MS.get(measure, 0.0)
        url, bundle = stack.enter_context(stage.upstream(delay_ms=delay_ms))
        start = partial(stage.facade, url, bundle)
        facades = {
            _HERE: stack.enter_context(start()),
            _THERE: stack.enter_context(start(python=other.python, settings=other.environment)),
        }
        loads = Loads(stack.enter_context(stage.Load()), stack.enter_context(stage.Load()))
        of: Mapping[str, Callable[[Facade], Values]] = {
            "mixed": loads.mixed,
            "added": partial(loads.cost, rpc="add", size="300 KB", callers=32),
            "search": partial(loads.cost, rpc="search", size="300 KB", callers=1),
            "large_add": partial(loads.cost, rpc="add", size="2.9 MB", callers=4),
            "small_add": partial(loads.cost, rpc="add", size="1 KB", callers=8),
            "probes": loads.probes,
            "crowded": loads.crowded,
        }
        work = of[measure]
        return clocks.in_turns(
            {who: partial(work, facade) for who, facade in facades.items()}, max(2, rounds)
        )
