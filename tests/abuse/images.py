"""Images that are small and dear, sent with ``fit`` to a facade that others search at.

``python -m tests.abuse.images``. The facade, its upstream, the bombs' sender and the searcher are
processes of their own. First each bomb alone: what its worker takes, and whether it lives on past
the call's deadline. Then as many as a caller has places at once, without an end, beside searches.

The searcher is another caller than those of the bombs. Its time is compared with its own before
the bombs, in the same run; and beside images over 3 MiB with the floor, a gRPC server that throws
messages away (``benchmarks/null_receiver.py``).
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import grpc
import psutil

from demo.facade import Facade
from demo.processes import Server
from productsearch import v1
from productsearch_service import limits
from tests.calls.silent import policy_file, token_of
from tests.calls.watching import outcome
from tests.images.bombs import all_bombs
from tests.images.workers import peak_mb
from tests.pictures import draw, encode, numbered_jpeg
from tests.soak.measures import Measure, at_least, at_most, equal, report

FULL: Final = 1.0
_ALONE_S: Final = (0.5, 20.0)
"""Deadlines of a bomb that is sent alone: one that ends many in their work, one that lets all come
to the most of their memory.
"""
_AT_ONCE: Final = 64
"""Of two callers, half of them each."""
_SENDERS: Final = ("one", "two")
_SEARCHER: Final = "three"
_SMALL_BYTES: Final = 3 * 1024 * 1024
_BESIDE_S: Final = 40.0
_IDLE_S: Final = 10.0
_AFTER_S: Final = 0.1
"""After the deadline nothing of a bomb may be left for longer than this."""
_BYTES_MAX: Final = limits.RECEIVE_BYTES_MAX - 1024
_EXPECTED: Final = {
    "OK", "IMAGE_UNREADABLE", "IMAGE_SIZE_INVALID", "DEADLINE_TOO_SHORT", "SERVER_OVERLOADED",
    "bare DEADLINE_EXCEEDED",
}  # fmt: skip
_CHANNEL: Final = (("grpc.max_send_message_length", -1),)


def run(size: float) -> list[Measure]:
    """Send all bombs of ``size``, alone and at once; 1 is the full size."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        command = [sys.executable, "-m", "tests.fakes.swift_upstream"]
        upstream = stack.enter_context(Server(command, folder / "upstream.log", {}))
        facade = stack.enter_context(
            Facade(
                folder / "facade",
                upstream.url,
                {"default": ("k" * 20, "s" * 20)},
                environment={
                    "PRODUCTSEARCH_DRAIN_DELAY_S": "0",
                    "PRODUCTSEARCH_POLICY_FILE": str(policy_file(folder)),
                },
            )
        )
        pool = stack.enter_context(
            ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
        )
        bombs = {name: made for name, made in _made(pool, size) if len(made) <= _BYTES_MAX}
        small = {name: each for name, each in bombs.items() if len(each) <= _SMALL_BYTES}
        found = [
            *_alone(facade, bombs),
            *_beside(pool, facade, small, size, f"{_AT_ONCE} of at most 3 MiB at once"),
            *_beside(pool, facade, bombs, size, f"{_AT_ONCE} at once"),
        ]
        floor = [sys.executable, "-m", "benchmarks.null_receiver"]
        with Server(floor, folder / "floor.log", {}) as receiver:
            _searched(pool, receiver.url.removeprefix("http://"), bombs, size, "floor")
        return found


def _made(pool: ProcessPoolExecutor, size: float) -> Iterator[tuple[str, bytes]]:
    """Make the bombs in another process: some take gigabytes to make."""
    for name in all_bombs(size):
        yield name, pool.submit(make, name, size).result()


def make(name: str, size: float) -> bytes:
    """Return one bomb; for a process of its own."""
    return all_bombs(size)[name]()


def _workers(facade: Facade) -> list[psutil.Process]:
    return psutil.Process(facade.pid).children()


def _alone(facade: Facade, bombs: dict[str, bytes]) -> Iterator[Measure]:
    most_mb, lived_on, outcomes = 0.0, 0, Counter[str]()
    with grpc.insecure_channel(facade.url, options=_CHANNEL) as channel:
        stub = v1.ProductSearchStub(channel)
        stub.AddImage(
            _add(encode(draw(1, 200, 200))), timeout=60, metadata=token_of("one")
        )  # the first process is there
        for deadline_s, (name, bomb) in itertools.product(_ALONE_S, bombs.items()):
            told, peak, left = _one(facade, stub, bomb, deadline_s)
            print(f"{name}: {len(bomb)} bytes: {told}, {peak:.0f} MB{', LIVED ON' * left}")
            most_mb, lived_on = max(most_mb, peak), lived_on + left
            outcomes[told.replace("bare DEADLINE_EXCEEDED", "DEADLINE_TOO_SHORT")] += 1
    strange = sum(outcomes[told] for told in outcomes.keys() - _EXPECTED)
    yield at_least("bombs alone: sent", len(bombs), 30)
    yield at_least("bombs alone: ended by their deadlines", outcomes["DEADLINE_TOO_SHORT"], 1)
    yield equal("bombs alone: outcomes that are not documented", strange, 0)
    # Else nobody looked at the workers.
    yield at_least("bombs alone: that memory, MB", most_mb, 1)
    yield at_most("bombs alone: most memory of a worker, MB", most_mb, 400)
    yield equal(f"bombs alone: alive {_AFTER_S * 1000:.0f} ms after the deadline", lived_on, 0)


def _one(facade: Facade, stub: Any, bomb: bytes, deadline_s: float) -> tuple[str, float, bool]:
    """Return what came of one bomb, the most memory of a worker, and whether one went on."""
    end_s = time.monotonic() + deadline_s
    call = stub.AddImage.future(_add(bomb), timeout=deadline_s, metadata=token_of("one"))
    most_mb = 0.0
    before: dict[int, psutil.Process] = {}
    while time.monotonic() < end_s + _AFTER_S and not (call.done() and time.monotonic() < end_s):
        for worker in _workers(facade):
            if time.monotonic() < end_s:
                before[worker.pid] = worker
            most_mb = max(most_mb, _or_zero(lambda pid=worker.pid: peak_mb(pid)))  # type: ignore[misc]
        time.sleep(0.005)
    used_s = {pid: _or_zero(lambda it=it: sum(it.cpu_times()[:2])) for pid, it in before.items()}  # type: ignore[misc]
    time.sleep(0.1)
    now_s = {pid: _or_zero(lambda it=it: sum(it.cpu_times()[:2])) for pid, it in before.items()}  # type: ignore[misc]
    return outcome(call), most_mb, any(now_s[pid] - used_s[pid] > 0.03 for pid in before)


def _or_zero(read: Callable[[], float]) -> float:
    """Return what is read of a process; 0 if it has just ended."""
    try:
        return read()
    except (psutil.NoSuchProcess, OSError, IndexError):
        return 0.0


def _beside(
    pool: ProcessPoolExecutor, facade: Facade, bombs: dict[str, bytes], size: float, case: str
) -> Iterator[Measure]:
    stop = threading.Event()
    most: list[float] = []
    watcher = threading.Thread(target=_watch, args=(facade, stop, most))
    watcher.start()
    ratio, refused, outcomes = _searched(pool, facade.url, bombs, size, case)
    stop.set()
    watcher.join()
    strange = sum(outcomes[told] for told in outcomes.keys() - _EXPECTED)
    yield equal(f"{case}: outcomes that are not documented", strange, 0)
    begun = outcomes.total() - outcomes["SERVER_OVERLOADED"]
    yield at_least(f"{case}: bombs that were begun", begun, _AT_ONCE)
    yield at_most(f"{case}: RSS of facade and workers, MB", max(most), 700)
    yield equal(f"{case}: searches refused", refused, 0)
    yield at_most(f"{case}: p99 of searches / idle", ratio, 3)


def _searched(
    pool: ProcessPoolExecutor, url: str, bombs: dict[str, bytes], size: float, case: str
) -> tuple[float, int, Counter[str]]:
    """Return p99 of searches beside bombs in times of their idle p99, how many were refused, and
    what came of the bombs.
    """
    seconds = max(4.0, _BESIDE_S * size)
    pool.submit(search_for, url, 2.0).result()
    idle, _ = pool.submit(search_for, url, max(2.0, _IDLE_S * size)).result()
    sending = pool.submit(send, url, [*bombs.values()], seconds + 3)
    time.sleep(2)  # all places are taken
    beside, refused = pool.submit(search_for, url, seconds).result()
    outcomes: Counter[str] = sending.result()
    print(f"{case}: {dict(outcomes)}; searches {len(beside)}, refused {dict(refused)}")
    idle_s, beside_s = (statistics.quantiles(times, n=100)[-1] for times in (idle, beside))
    print(
        f"{case}: search p99 {idle_s * 1000:.1f} ms idle, {beside_s * 1000:.1f} ms beside, "
        f"{beside_s / idle_s:.1f} times",
        flush=True,
    )
    return beside_s / idle_s, refused.total(), outcomes


def _watch(facade: Facade, stop: threading.Event, most: list[float]) -> None:
    """Note the memory of the facade and its workers together, in MB, again and again."""
    process = psutil.Process(facade.pid)
    while not stop.wait(0.01):
        together = [process, *process.children()]
        most.append(sum(_or_zero(lambda it=it: it.memory_info().rss) for it in together) / 1e6)  # type: ignore[misc]


def send(url: str, bombs: list[bytes], seconds: float) -> Counter[str]:
    """Keep ``_AT_ONCE`` bombs under way for so long; return what came of them. For a process."""
    outcomes: Counter[str] = Counter()
    end_s = time.monotonic() + seconds
    turns = itertools.cycle(bombs)
    lock = threading.Lock()

    def keep_sending(caller: str) -> None:
        with grpc.insecure_channel(url, options=_CHANNEL) as channel:
            stub = v1.ProductSearchStub(channel)
            while (left_s := end_s - time.monotonic()) > 0.2:
                with lock:
                    bomb = next(turns)
                call = stub.AddImage.future(
                    _add(bomb), timeout=min(10.0, left_s), metadata=token_of(caller)
                )
                told = outcome(call)
                with lock:
                    outcomes[told] += 1
                if told == "SERVER_OVERLOADED":
                    time.sleep(limits.OVERLOAD_RETRY_S)

    threads = [
        threading.Thread(target=keep_sending, args=(_SENDERS[number % 2],))
        for number in range(_AT_ONCE)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def search_for(url: str, seconds: float) -> tuple[list[float], Counter[str]]:
    """Search with small images, one after the other, for so long; return each one's seconds, and
    what came of those that were not answered. For a process of its own.
    """
    taken: list[float] = []
    refused: Counter[str] = Counter()
    end_s = time.monotonic() + seconds
    with grpc.insecure_channel(url) as channel:
        stub = v1.ProductSearchStub(channel)
        for number in itertools.count():
            if time.monotonic() > end_s:
                return taken, refused
            image = v1.ImageSource(content=numbered_jpeg(number))
            began_s = time.perf_counter()
            told = outcome(
                stub.SearchImages.future(
                    v1.SearchImagesRequest(image=image), timeout=20, metadata=token_of(_SEARCHER)
                )
            )
            taken.append(time.perf_counter() - began_s)
            if told != "OK":
                refused[told] += 1
            time.sleep(0.005)
    raise AssertionError("counting ended")


def _add(content: bytes) -> v1.AddImageRequest:
    image = v1.ImageSource(content=content, fit=True)
    return v1.AddImageRequest(new_image=v1.NewImage(image=image, brief="b"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=float, default=FULL)
    sys.exit(report(run(parser.parse_args().size)))
