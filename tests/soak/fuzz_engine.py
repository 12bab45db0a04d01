"""Feeds a running engine with a million mutated requests and 100,000 mutated images, over HTTP.

The engine is a process with its own PostgreSQL and its workers. Every answer has to be one that the
contract knows, the log must have no traceback, and what the engine takes of memory and descriptors
must not grow with the number of requests, once all of its processes run (``_warm_up``). ``url``
leads to a host that answers nonsense.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import psutil

from demo.processes import Engine
from productsearch_engine.api import codes
from productsearch_engine.logs import ACCESS
from tests.abuse.engine_images import family
from tests.engine.calling import Caller, code_of
from tests.engine.image_files import jpeg
from tests.soak.engine_senders import Batch, send_calls, send_images
from tests.soak.foreign_host import serving
from tests.soak.fuzz_told import tell
from tests.soak.measures import Measure, at_least, at_most, equal, report

REQUESTS: Final = 1_000_000
IMAGES: Final = 100_000
SEED: Final = 20261126
_SENDERS: Final = 2
_ROUNDS_MIN: Final = 12
"""Memory is looked at so often, at rest, while the requests are sent, and again for the images."""
_BATCH_MAX: Final = 5_000
_DECODERS: Final = 2
_WARM_UP_ROUNDS_MAX: Final = 120
_WARM_UP_PAUSE_S: Final = 0.5
_JPEG_END: Final = b"\xff\xd9"
_GROWTH_MB_MAX: Final = 24
_DESCRIPTORS_MORE_MAX: Final = 24
_LOG_MB_MAX: Final = 4
_LINES_MAX: Final = 40
_CODES_MIN: Final = 14
_QUIET: Final = {
    "PRODUCTSEARCH_ENGINE_ALLOW_PRIVATE_URLS": "true",
    "PRODUCTSEARCH_ENGINE_DECODERS": str(_DECODERS),
    "PRODUCTSEARCH_ENGINE_LOG_LEVEL": "warning",
    "PRODUCTSEARCH_ENGINE_ACCESS_LOG_SUCCESSES": "0",
}


@dataclass
class Seen:
    """What came of one kind of requests."""

    outcomes: Counter[str] = field(default_factory=Counter)
    memory_mb: list[float] = field(default_factory=list)
    """Of the engine and its workers, after each round."""

    @property
    def wrong(self) -> int:
        """Return how many answers are not documented, or did not come."""
        return sum(count for told, count in self.outcomes.items() if told.startswith("WRONG"))

    @property
    def passed(self) -> int:
        """Return how many were done, or met an image that is stored already, or is not."""
        done = (0, codes.ITEM_EXISTS, codes.ITEM_UNKNOWN)
        return sum(self.outcomes[f"code {code}"] for code in done)

    @property
    def growth_mb(self) -> float:
        """Return by how much the last third of the rounds is above the middle third."""
        third = len(self.memory_mb) // 3
        return statistics.median(self.memory_mb[-third:]) - statistics.median(
            self.memory_mb[third : 2 * third]
        )


def run(requests: int, images: int, seed: int = SEED) -> list[Measure]:
    """Send so many requests, and then so many images, to an engine of the run's own."""
    print(f"seed {seed}", flush=True)
    spawn = multiprocessing.get_context("spawn")
    with (
        serving(seed) as host,
        Engine(environment=_QUIET) as engine,
        ProcessPoolExecutor(_SENDERS, mp_context=spawn) as senders,
    ):
        caller = Caller(engine.url, *engine.create_library("fuzzed"))
        quick = Caller(engine.url, *engine.create_library("quick", "--embedding", "classic"))
        _warm_up(engine, (caller, quick))
        resting = psutil.Process(engine.pid).num_fds()
        workers = {one.pid for one in family(engine.pid)}
        batch = Batch(
            url=engine.url,
            token=caller.token,
            quick_token=quick.token,
            host=host,
            seed=seed,
            first=0,
            count=0,
        )
        calls = _sent(senders, send_calls, batch, requests, engine, "requests")
        files = _sent(senders, send_images, batch, images, engine, "images")
        alive = not code_of(caller.call("search", image=jpeg(1)))
        others = len(workers ^ {one.pid for one in family(engine.pid)})
        descriptors = psutil.Process(engine.pid).num_fds() - resting
        caller.close()
        quick.close()
        log = engine.log()
    # Each failed call has its line, at any level: no find. What else is written is bounded.
    told = [line for line in log.splitlines() if ACCESS not in line]
    print("\n".join(["the log:", *told[:_LINES_MAX]]), flush=True)
    return [
        *_measures("requests", requests, calls),
        *_measures("images", images, files),
        at_least("engine: different outcomes of requests", len(calls.outcomes), _CODES_MIN),
        at_least("engine: requests that passed every check", calls.passed, requests // 10),
        at_least("engine: images read", files.outcomes["code 0"], images // 50),
        equal("engine: worker processes that died, or were started late", others, 0),
        equal("engine: tracebacks in the log", log.count("Traceback"), 0),
        equal("engine: faults in the log", log.count("internal error"), 0),
        at_most("engine: log but for calls, MB", sum(map(len, told)) / 1e6, _LOG_MB_MAX),
        at_most("engine: more descriptors than before", descriptors, _DESCRIPTORS_MORE_MAX),
        equal("engine: answers as before", alive, 1),
    ]


def _warm_up(engine: Engine, callers: Sequence[Caller]) -> None:
    """Have every worker process started, with every embedding: 190 MB each, and then no more.

    The process for large images starts with the first of these, such as a JPEG without its end
    mark; by chance that would come in any round. Raises AssertionError if the processes are not
    there after ``_WARM_UP_ROUNDS_MAX`` rounds.
    """
    wanted = 1 + _DECODERS + 1  # the engine's own, those for ordinary images, that for large ones
    searches = [(each, jpeg(1)) for each in callers] * 2 * _DECODERS
    for each in callers:
        for number in range(4):
            assert not code_of(each.call("add", image=jpeg(number), brief="x"))
        assert not code_of(each.call("search", image=jpeg(1).removesuffix(_JPEG_END)))
    with ThreadPoolExecutor(len(searches)) as threads:
        for _ in range(_WARM_UP_ROUNDS_MAX):
            processes = len(family(engine.pid))
            answers = threads.map(lambda one: one[0].call("search", image=one[1]), searches)
            assert not any(code_of(answer) for answer in answers)
            if processes == wanted:
                return
            time.sleep(_WARM_UP_PAUSE_S)
    raise AssertionError(f"{processes} processes, not {wanted}")


def _sent(
    senders: ProcessPoolExecutor,
    send: Callable[[Batch], tuple[Counter[str], list[str]]],
    batch: Batch,
    count: int,
    engine: Engine,
    name: str,
) -> Seen:
    seen, began_s, done = Seen(), time.monotonic(), 0
    for round_of_batches in _rounds(batch, count):
        for outcomes, wrong in senders.map(send, round_of_batches):
            seen.outcomes += outcomes
            for line in wrong:
                tell("engine", line)
        done += sum(each.count for each in round_of_batches)
        seen.memory_mb.append(sum(one.memory_info().rss for one in family(engine.pid)) / 1e6)
        took_s = time.monotonic() - began_s
        print(
            f"{name}: {done:,} of {count:,}, {done / took_s:.0f}/s, {seen.wrong} wrong,"
            f" {seen.memory_mb[-1]:.1f} MB",
            flush=True,
        )
    print(f"{name}: {dict(seen.outcomes.most_common())}", flush=True)
    return seen


def _rounds(batch: Batch, count: int) -> Iterator[list[Batch]]:
    """Yield what the senders do at the same time, until there are ``count``."""
    size = max(1, min(_BATCH_MAX, count // (_SENDERS * _ROUNDS_MIN)))
    first = 0
    while first < count:
        last = min(count, first + _SENDERS * size)
        yield [batch.of(at, min(size, last - at)) for at in range(first, last, size)]
        first = last


def _measures(name: str, count: int, seen: Seen) -> list[Measure]:
    sent = sum(seen.outcomes.values())
    return [
        equal(f"engine: {name} sent", sent, count),
        equal(f"engine: {name} with another outcome than a documented one", seen.wrong, 0),
        at_most(f"engine: memory, last third of {name} - middle third, MB", seen.growth_mb,
                _GROWTH_MB_MAX),
    ]  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    sys.exit(report(run(arguments.requests, arguments.images, arguments.seed)))
