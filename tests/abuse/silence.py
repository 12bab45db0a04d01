"""Callers that are silent, frozen or large, beside one that makes small searches all along.

``python -m tests.abuse.silence``. The facade and each caller are processes of their own. The
searcher's times are compared with its own while nobody else called, in the same run; how long
health takes is told of the service's own port.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from demo.facade import Facade
from productsearch_service import limits
from tests.calls.silent import SERVICE, policy_file
from tests.fakes.upstream import FakeUpstream
from tests.lifecycle.asking import metrics, until, until_ready
from tests.mesh.gateway import Certificates, Gateway
from tests.mesh.replicas import NO_DRAIN, replicas
from tests.soak.measures import Measure, at_least, at_most, equal, report

_SEARCH: Final = SERVICE + "SearchImages"
_ADD: Final = SERVICE + "AddImage"
_BULK: Final = SERVICE + "BulkAddImages"
_CHECK: Final = "/grpc.health.v1.Health/Check"
_LOOK_S: Final = 0.05
_LOOKS_MAX: Final = 10
"""At the calls that are held, at the beginning: a look costs the facade a scrape."""
_HEALTH_MEDIAN_S: Final = 0.1
_BACK_S: Final = 15
_IMAGE_BYTES: Final = 5_800_000
_MB: Final = 1e6


@dataclass(frozen=True)
class Size:
    """Seconds of each case, and silent streams of a stranger."""

    seconds: float
    silent: int
    only_gateway: bool = False


FULL: Final = Size(seconds=10, silent=1000)


class Beside:
    """The searcher; ``told`` is what came of it since the last time."""

    def __init__(self, address: str, *options: str) -> None:
        self._process = _started("tests.abuse.beside", address, *options)

    def told(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def _started(module: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextmanager
def _calling(beside: Beside, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run calls that have begun; at the end print what they came to.

    What the searcher saw counts from before they begin: not while their process starts, which
    takes both cores of a small machine.
    """
    process = _started("tests.abuse.silent", *arguments)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "connected\n"
    beside.told()
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "begun\n"
    try:
        yield process
    finally:
        out, _ = process.communicate()
        print(f"  came to {out.strip()}", flush=True)


class _Peak:
    """The most memory of a process since the last reset, over what it had at the beginning."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._first = self._most = self._process.memory_info().rss

    def reset(self) -> None:
        self._most = 0

    def look(self) -> None:
        self._most = max(self._most, self._process.memory_info().rss)

    @property
    def grown_mb(self) -> float:
        return (self._most - self._first) / _MB


def _compared(case: str, idle: dict[str, Any], now: dict[str, Any]) -> list[Measure]:
    failed = {told: count for told, count in now["outcomes"].items() if told != "OK"}
    if failed:
        print(f"  {case}: searcher was told {failed}")
    idle_s, now_s = (_at(each["search_s"], 0.99) for each in (idle, now))
    print(f"  {case}: {len(now['search_s'])} searches, p99 {now_s:.4f} s, idle {idle_s:.4f} s")
    found = [
        equal(f"{case}: others' searches that failed", sum(failed.values()), 0),
        at_most(f"{case}: others' p99 / idle", now_s / idle_s, 2),
    ]
    if now["health_s"]:
        median_s = _at(now["health_s"], 0.5)
        found.append(at_most(f"{case}: health, median s", median_s, _HEALTH_MEDIAN_S))
    return found


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def run(size: Size) -> list[Measure]:
    """Run all cases, then silence behind the gateway."""
    found: list[Measure] = []
    with tempfile.TemporaryDirectory() as data, FakeUpstream() as upstream:
        folder = Path(data)
        if size.only_gateway:
            return _behind_gateway(size, folder / "mesh", upstream.url)
        environment = NO_DRAIN | {"PRODUCTSEARCH_POLICY_FILE": str(policy_file(folder))}
        keys = {"default": ("k", "s")}
        with Facade(folder / "one", upstream.url, keys, environment=environment) as facade:
            until_ready(facade)
            with Beside(facade.url, "--token=two") as beside:
                found += _alone(size, facade, beside)
        found += _behind_gateway(size, folder / "mesh", upstream.url)
    return found


def _alone(size: Size, facade: Facade, beside: Beside) -> list[Measure]:
    def watched(case: str, *arguments: str, act: Callable[[Any], None] | None = None) -> Any:
        nonlocal grown_mb, back_s, most_held
        print(case, flush=True)
        until(lambda: not _held(facade), "nothing is under way")
        peak.reset()
        most_held, looks = 0.0, 0
        began_s, end_s = time.monotonic(), time.monotonic() + size.seconds
        with _calling(beside, facade.url, *arguments) as process:
            if act is not None:
                act(process)
            while time.monotonic() < end_s and process.poll() is None:
                peak.look()
                if looks < _LOOKS_MAX:
                    most_held, looks = max(most_held, _held(facade)), looks + 1
                time.sleep(_LOOK_S)
            while time.monotonic() < began_s + 2 * _BACK_S and _held(facade):
                peak.look()
                time.sleep(_LOOK_S)
            back_s = time.monotonic() - began_s
            if act is not None:
                os.kill(process.pid, signal.SIGKILL)
        grown_mb = peak.grown_mb
        return _compared(case, idle, beside.told())

    grown_mb = back_s = most_held = 0.0
    peak = _Peak(facade.pid)
    time.sleep(2)
    beside.told()
    time.sleep(size.seconds)
    idle = beside.told()
    count, ten = f"--count={size.silent}", "--connections=10"
    found: list[Measure] = []

    name = f"{size.silent} silent calls of a stranger"
    found += watched(name, _SEARCH, count, ten)
    found.append(at_most(f"{name}: memory grown MB", grown_mb, 100))

    name = f"{size.silent} silent calls of health"
    found += watched(name, _CHECK, count, ten)
    found.append(at_most(f"{name}: memory grown MB", grown_mb, 100))

    name = "64 silent calls of a caller"
    found += watched(name, _SEARCH, "--count=64", "--token=one")
    found.append(at_least(f"{name}: calls held at once", most_held, limits.RECEIVING_MAX))
    found.append(at_most(f"{name}: seconds until places are back", back_s, _BACK_S))

    name = f"{size.silent} silent calls of a caller"
    found += watched(name, _SEARCH, count, ten, "--token=one")
    found.append(at_most(f"{name}: seconds until places are back", back_s, _BACK_S))

    def freeze(process: subprocess.Popen[str]) -> None:
        until(lambda: _held(facade) > 1, "images are received")
        os.kill(process.pid, signal.SIGSTOP)

    name = "a client frozen in 64 images"
    send = f"--send={_IMAGE_BYTES}"
    found += watched(name, _ADD, "--count=64", send, "--token=one", act=freeze)
    found.append(at_most(f"{name}: seconds until places are back", back_s, _BACK_S))

    name = "88 messages of 21 MiB less one byte"
    send = f"--send={limits.RECEIVE_BYTES_MAX - 1}"
    found += watched(name, _SEARCH, "--count=88", send, "--token=one")
    found.append(at_most(f"{name}: memory grown MB", grown_mb, 300))

    name = "16 bulk streams of 5.8 MB items"
    bulk = ("--bulk", f"--send={_IMAGE_BYTES}", "--items=12")
    found += watched(name, _BULK, "--count=16", *bulk, "--token=one")
    found.append(at_most(f"{name}: memory grown MB", grown_mb, 400))
    return found


def _held(facade: Facade) -> float:
    """Return how many calls are received, or wait for that."""
    samples = metrics(facade)
    kinds = ("waiting", "receiving")
    return sum(samples[f'productsearch_rpcs_in_flight{{kind="{kind}"}}'] for kind in kinds)


def _behind_gateway(size: Size, folder: Path, upstream: str) -> list[Measure]:
    """Silent calls of one shop through Envoy, beside searches of another caller."""
    name = f"behind Envoy, {size.silent} silent calls of a shop"
    print(name, flush=True)
    folder.mkdir()
    certificates = Certificates(folder / "tls")
    named = NO_DRAIN | {"PRODUCTSEARCH_SIDECARS": '["127.0.0.1"]'}
    with ExitStack() as stack:
        facades = stack.enter_context(replicas(folder, upstream, environment=named))
        addresses = [facade.url for facade in facades]
        gateway = stack.enter_context(Gateway(folder, certificates, addresses))
        gateway.wait_for_healthy(2)
        beside = stack.enter_context(Beside(gateway.address, *_tls(certificates, "catalogue")))
        time.sleep(2)
        beside.told()
        time.sleep(size.seconds)
        idle = beside.told()
        least = 2
        shop = ("--connections=10", *_tls(certificates, "shop"))
        with _calling(beside, gateway.address, _SEARCH, f"--count={size.silent}", *shop):
            end_s = time.monotonic() + size.seconds + _BACK_S
            while time.monotonic() < end_s:
                healthy = int(gateway.stats()["membership_healthy"])
                if healthy < least:
                    print(f"  {end_s - time.monotonic():.1f} s before the end: {gateway.hosts()}")
                least = min(least, healthy)
                time.sleep(_LOOK_S)
        found = _compared(name, idle, beside.told())
    return [*found, equal(f"{name}: facades healthy all along", least, 2)]


def _tls(certificates: Certificates, caller: str) -> list[str]:
    names = ("ca.crt", f"{caller}.key", f"{caller}.crt")
    return ["--tls", *(str(certificates.folder / name) for name in names)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=FULL.seconds)
    parser.add_argument("--silent", type=int, default=FULL.silent)
    parser.add_argument("--only-gateway", action="store_true")
    asked = parser.parse_args()
    sys.exit(report(run(Size(asked.seconds, asked.silent, asked.only_gateway))))
