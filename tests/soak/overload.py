"""Overload and outages, for real: an upstream that goes away, hurried and cancelled callers,
images by the hundred. Everything over real HTTP and gRPC.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc

from demo.facade import Facade
from productsearch import v1
from productsearch.v1 import ErrorReason as R
from productsearch_service import limits
from tests.fakes.upstream import FakeUpstream, Fault, Received, search_answer
from tests.pictures import noise_jpeg
from tests.soak.measures import Measure, report
from tests.soak.overload_deadlines import SEED, random_deadlines
from tests.soak.overload_stage import facade_before, search_of
from tests.soak.probing import probed

QUOTA = 10.0
_LOOK_S = 0.5
"""A look of the facade at its own port, on a busy machine."""


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    down_s: float
    deadlines: int
    cancels: int
    large_callers: int


FULL = Size(down_s=60, deadlines=1000, cancels=10_000, large_callers=256)


def measures(size: Size) -> list[Measure]:
    """Run everything."""
    print(f"seed {SEED}")
    return [
        *upstream_down(size.down_s),
        *random_deadlines(size.deadlines),
        *cancels(size.cancels),
        *large_images(size.large_callers, within_s=0.1),
    ]


def upstream_down(down_s: float) -> list[Measure]:
    """Ten callers a second all along; the upstream refuses for a while, then it is back."""
    before_s, after_s = 3.0, 15.0
    calls: list[float] = []
    results: list[tuple[float, bool]] = []
    with FakeUpstream() as upstream, facade_before(upstream, QUOTA) as stub:
        down = threading.Event()

        def answer(_: Received) -> object:
            calls.append(time.monotonic())
            if down.is_set():
                return Fault(status=503, body=b"<html>out of service</html>")
            return search_answer()

        upstream.always("search", answer)
        began_s = time.monotonic()

        def one(number: int) -> None:
            time.sleep(max(0.0, began_s + number / 8 - time.monotonic()))
            try:
                stub.SearchImages(search_of(number), timeout=5)
                results.append((time.monotonic(), True))
            except grpc.RpcError:
                results.append((time.monotonic(), False))

        total = int((before_s + down_s + after_s) * 8)
        with ThreadPoolExecutor(64) as pool:
            threading.Timer(before_s, down.set).start()
            threading.Timer(before_s + down_s, down.clear).start()
            list(pool.map(one, range(total)))
    down_at_s, up_at_s = began_s + before_s, began_s + before_s + down_s
    during = [at_s for at_s in calls if down_at_s <= at_s < up_at_s]
    asked = int(down_s * 8)
    first_good_s = min(at_s for at_s, good in results if good and at_s > up_at_s)
    late = [at_s for at_s in during if at_s > down_at_s + 5]
    per_second = Counter(int(at_s - began_s) for at_s in calls)
    probes_max = 1 + down_s / 2
    return [
        _bar("upstream down: calls to it beyond 10 % of requests", len(during) - 10, "<=",
             0.1 * asked + 10),
        _bar("upstream down: calls after the first 5 s (probes only)", len(late), "<=", probes_max),
        _bar("upstream back: seconds until calls are answered", first_good_s - up_at_s, "<=", 10),
        _bar("upstream back: most calls in a second / quota", max(per_second.values()) / QUOTA,
             "<=", 1.1),
    ]  # fmt: skip


def cancels(number: int) -> list[Measure]:
    """Calls cancelled at random times leave nothing behind in the service's process."""
    chance = random.Random(SEED)
    with FakeUpstream() as upstream, _process(upstream) as facade:
        # By then it has looked at its own port, and has the thread that does this.
        complete_s = time.monotonic() + limits.REACHABILITY_POLL_S + _LOOK_S
        upstream.always("search", Fault(seconds=0.02, body=b'{"log_id": 1, "result": []}'))
        with v1.connect(facade.url) as channel:
            stub = v1.ProductSearchStub(channel)

            def fill(first: int) -> int:
                """Ask more at once than a caller has places; return how many got one."""
                calls = [stub.SearchImages.future(search_of(first + n)) for n in range(200)]
                return sum(call.code() is grpc.StatusCode.OK for call in calls)

            def some(count: int, first: int) -> None:
                for index in range(count):
                    call = stub.SearchImages.future(search_of(first + index))
                    time.sleep(chance.uniform(0, 0.01))
                    call.cancel()

            fill(0)
            some(200, 1000)
            time.sleep(max(0.0, complete_s - time.monotonic()))
            before = _settled(facade.pid)
            some(number, 2000)
            after = _settled(facade.pid)
            places = fill(10**6)
    return [
        _bar("cancels: places free afterwards", places, ">=", 48),
        _bar("cancels: threads left behind", after[0] - before[0], "<=", 0),
        _bar("cancels: descriptors left behind", after[1] - before[1], "<=", 0),
        _bar("cancels: memory left behind MB", (after[2] - before[2]) / 1e6, "<=", 5),
    ]


def large_images(callers: int, within_s: float = math.inf) -> list[Measure]:
    """Many callers with 3 MB each: some are served, the others refused, memory is bounded.

    ``within_s``: health and metrics must answer within this time all along.
    """
    outcomes: Counter[str] = Counter()
    peak = 0
    with FakeUpstream() as upstream:
        upstream.always("search", Fault(seconds=0.3, body=b'{"log_id": 1, "result": []}'))
        with _process(upstream) as facade:
            idle = _rss(facade.pid)
            request = v1.SearchImagesRequest(
                image=v1.ImageSource(content=noise_jpeg(2_850_000)[:2_850_000])
            )
            messages = [v1.SearchImagesRequest() for _ in range(callers)]
            for index, message in enumerate(messages):
                message.CopyFrom(request)
                message.min_score = index / 1e6

            def one(message: v1.SearchImagesRequest) -> None:
                with v1.connect(facade.url, options=[("grpc.use_local_subchannel_pool", 1)]) as own:
                    try:
                        v1.ProductSearchStub(own).SearchImages(message, timeout=60)
                        outcomes["ok"] += 1
                    except grpc.RpcError as error:
                        outcomes[R.Name(v1.reason_of(error) or R.ERROR_REASON_UNSPECIFIED)] += 1

            stop = threading.Event()

            def watch() -> None:
                nonlocal peak
                while not stop.wait(0.05):
                    peak = max(peak, _rss(facade.pid))

            watcher = threading.Thread(target=watch)
            watcher.start()
            with (
                probed(facade.admin, facade.metrics) as answers,
                ThreadPoolExecutor(callers) as pool,
            ):
                list(pool.map(one, messages))
            stop.set()
            watcher.join()
    print(f"large images: {dict(outcomes)}")
    for what, seconds in vars(answers).items():
        median_s, longest_s = sorted(seconds)[len(seconds) // 2], max(seconds)
        print(f"  {what}: {len(seconds)} times, median {median_s:.3f}, longest {longest_s:.3f}")
    bound = 64 * 2_850_000 * 4  # request, body, and what gRPC and the sockets hold of them
    return [
        _bar("large images: answered or refused", outcomes.total(), "==", callers),
        _bar(
            "large images: neither answered nor SERVER_OVERLOADED",
            callers - outcomes["ok"] - outcomes["SERVER_OVERLOADED"],
            "==",
            0,
        ),
        _bar(
            "large images: health answered, 99th percentile s",
            _p99(answers.health_s),
            "<=",
            within_s,
        ),
        _bar(
            "large images: metrics answered, 99th percentile s",
            _p99(answers.metrics_s),
            "<=",
            within_s,
        ),
        _bar("large images: memory over idle MB", (peak - idle) / 1e6, "<=", bound / 1e6),
    ]


@contextlib.contextmanager
def _process(upstream: FakeUpstream) -> Iterator[Facade]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Facade(
            Path(folder),
            upstream.url,
            {"default": ("k" * 20, "s" * 20)},
            environment={"PRODUCTSEARCH_DRAIN_DELAY_S": "0"},
        ) as facade,
    ):
        yield facade


def _rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _held(pid: int) -> tuple[int, int]:
    """Return how many threads and descriptors a process holds.

    Without the threads of gRPC's own pool, which grows and shrinks as it likes: the mixed
    soak bounds them.
    """
    process = Path(f"/proc/{pid}")
    names = [path.read_text("utf-8").strip() for path in process.glob("task/*/comm")]
    return len(names) - names.count("event_engine"), len([*(process / "fd").iterdir()])


def _settled(pid: int, still_s: float = 1.5) -> tuple[int, int, int]:
    """Return threads, descriptors and memory once the first two have not changed for a while."""
    last, since_s = _held(pid), time.monotonic()
    while time.monotonic() - since_s < still_s:
        time.sleep(0.05)
        now = _held(pid)
        if now != last:
            last, since_s = now, time.monotonic()
    return *last, _rss(pid)


def _p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99) - 1]


def _bar(name: str, value: float, relation: str, bar: float) -> Measure:
    return Measure(name=name, value=value, relation=relation, bar=bar)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    sys.exit(report(measures(FULL)))
