"""Upstreams whose answers never end, beside searches of another library.

``python -m tests.abuse.framing``. The facade, the upstream that misbehaves and the searcher are
processes of their own. Seconds with and without such answers alternate in one run.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Final

import grpc
import psutil

from demo.facade import Facade
from productsearch import v1
from tests.abuse.silence import Beside
from tests.fakes.endless import KINDS
from tests.fakes.upstream import FakeUpstream
from tests.lifecycle.asking import until_ready
from tests.pictures import numbered_jpeg
from tests.soak.measures import Measure, at_least, at_most, equal, report

_TOLD: Final = "the upstream sent more heads and framing than an answer has"
_PATIENCE_S: Final = 20
_AT_ONCE: Final = 4
_ROUNDS: Final = 5


def run(seconds: float) -> list[Measure]:
    """Run each kind for that long, in turns with as long without."""
    with FakeUpstream() as good:
        return [measure for kind in KINDS for measure in _beside(kind, seconds, good.url)]


def _beside(kind: str, seconds: float, good: str) -> list[Measure]:
    with (
        tempfile.TemporaryDirectory() as folder,
        _endless(kind) as bad,
        _facade(Path(folder), good, bad) as facade,
        Beside(facade.url) as beside,
        ThreadPoolExecutor(_AT_ONCE) as callers,
    ):
        until_ready(facade)
        process = psutil.Process(facade.pid)
        time.sleep(1)
        ratios: list[float] = []
        failed = 0
        told: Counter[str] = Counter()
        first = process.memory_info().rss
        for number in range(_ROUNDS):
            beside.told()
            time.sleep(seconds / _ROUNDS)
            idle = beside.told()
            end_s = time.monotonic() + seconds / _ROUNDS
            args = [(facade.url, end_s, number * _AT_ONCE + each) for each in range(_AT_ONCE)]
            for outcomes in callers.map(lambda each: _searches(*each), args):
                told += outcomes
            now = beside.told()
            ratios.append(_p99(now["search_s"]) / _p99(idle["search_s"]))
            failed += sum(now["outcomes"].values()) - now["outcomes"].get("OK", 0)
        grown = process.memory_info().rss - first
    print(f"{kind}: {dict(told)}", flush=True)
    found = [
        equal(f"{kind}: others' searches that failed", failed, 0),
        at_most(f"{kind}: others' p99 / idle, median", median(ratios), 3),
        at_most(f"{kind}: memory grown MB", grown / 1e6, 50),
        equal(f"{kind}: calls whose time ran out", told["DEADLINE_EXCEEDED"], 0),
    ]
    if kind.startswith(("informational", "chunk")):
        found.append(at_least(f"{kind}: answers told as excessive", told[_TOLD], 1))
    return found


def _searches(address: str, end_s: float, number: int) -> Counter[str]:
    """Search in the library whose upstream misbehaves, one call after the other."""
    told: Counter[str] = Counter()
    image = v1.ImageSource(content=numbered_jpeg(number))
    with grpc.insecure_channel(address) as channel:
        stub = v1.ProductSearchStub(channel)
        while time.monotonic() < end_s:
            try:
                request = v1.SearchImagesRequest(library="bad", image=image)
                stub.SearchImages(request, timeout=_PATIENCE_S)
                told["OK"] += 1
            except grpc.RpcError as error:
                ours = error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED
                told[error.details().partition(";")[0] if ours else error.code().name] += 1
            time.sleep(0.05)
    return told


@contextlib.contextmanager
def _endless(kind: str) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.fakes.endless", kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def _facade(folder: Path, good: str, bad: str) -> Facade:
    """Return a facade with a library of each upstream."""
    environment = {"PRODUCTSEARCH_DRAIN_DELAY_S": "0"}
    keys = {"default": ("the-api-key", "the-secret-key"), "bad": ("another-key", "its-secret")}
    facade = Facade(folder / "facade", good, keys, environment=environment)
    settings = folder / "facade" / "settings.toml"
    head, named, rest = settings.read_text().partition("[libraries.bad]")
    settings.write_text(head + named + rest.replace(good, bad, 1))
    return facade


def _p99(ordered: list[float]) -> float:
    return ordered[int(len(ordered) * 0.99)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15)
    sys.exit(report(run(parser.parse_args().seconds)))
