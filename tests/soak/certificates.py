"""Certificates swapped every second under load, as a volume of Kubernetes swaps them.

Callers with client certificates, some on one connection all along, some on a new one for each
call. Whoever looks sees the new serial number soon, and nobody's call fails.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc

from demo.facade import Facade
from productsearch import v1
from tests.fakes.upstream import FakeUpstream
from tests.identity.authority import Authority, ServerFiles, secure_channel, shown_serial
from tests.pictures import jpeg
from tests.soak.measures import Measure, report

_POLL_S = 0.25
_PATIENCE_S = 30.0
"""A new certificate that is not shown for so long is never shown."""
_STEADY, _FRESH = 4, 2
"""Callers that keep their connection, and callers with a new one for each call."""


@dataclass(frozen=True)
class Size:
    """How long, and within how many seconds a new certificate must be seen."""

    seconds: int
    seen_within_s: float


FULL = Size(seconds=60, seen_within_s=1.0)


def measures(size: Size) -> list[Measure]:
    """Swap certificates and count."""
    authority = Authority()
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, FakeUpstream() as upstream:
        files = ServerFiles(Path(folder) / "tls", authority)
        environment = {
            f"PRODUCTSEARCH_{name.upper()}": str(path) for name, path in files.settings().items()
        } | {"PRODUCTSEARCH_TLS_POLL_S": str(_POLL_S), "PRODUCTSEARCH_DRAIN_DELAY_S": "0"}
        pair = {"default": ("k", "s")}
        with Facade(Path(folder), upstream.url, pair, environment=environment) as facade:
            port = int(facade.url.rpartition(":")[2])
            with _callers(port, authority, outcomes):
                late_s = [_swap(files, port) for _ in range(size.seconds)]
    print(f"certificates: {dict(outcomes)}")
    failed = outcomes.total() - outcomes["steady OK"] - outcomes["fresh OK"]
    fewest = min(outcomes["steady OK"], outcomes["fresh OK"])
    return [
        _bar("certificates: failed RPCs", failed, "==", 0),
        _bar("certificates: RPCs on new connections, and on old", fewest, ">=", size.seconds),
        _bar("certificates: swaps whose serial was seen", _seen(late_s), "==", size.seconds),
        _bar(
            "certificates: seconds until the slowest was seen",
            max(late_s),
            "<=",
            size.seen_within_s,
        ),
    ]


def _seen(late_s: list[float]) -> int:
    return sum(math.isfinite(seconds) for seconds in late_s)


def _swap(files: ServerFiles, port: int, patience_s: float = _PATIENCE_S) -> float:
    """Swap, wait until it is seen and a second has passed; return the seconds to be seen.

    Infinite: it was not seen within ``patience_s``.
    """
    began_s = time.monotonic()
    serial = files.swap()
    while shown_serial(port) != serial:
        if time.monotonic() - began_s > patience_s:
            return math.inf
        time.sleep(0.02)
    seen_s = time.monotonic() - began_s
    time.sleep(max(0.0, 1 - seen_s))
    return seen_s


@contextlib.contextmanager
def _callers(port: int, authority: Authority, outcomes: Counter[str]) -> Iterator[None]:
    """Call all along from several threads."""
    stop = threading.Event()
    client = authority.issue(uris=["spiffe://mesh.example/ns/soak/sa/caller"])
    request = v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(1)))
    lock = threading.Lock()

    def call(kind: str, channel: grpc.Channel) -> None:
        try:
            v1.ProductSearchStub(channel).SearchImages(request, timeout=30)
            outcome = f"{kind} OK"
        except grpc.RpcError as error:
            outcome = f"{kind} {error.code().name}: {error.details()}"
        with lock:
            outcomes[outcome] += 1

    def steady() -> None:
        with secure_channel(port, authority.pem, client) as channel:
            while not stop.wait(0.02):
                call("steady", channel)

    def fresh() -> None:
        while not stop.wait(0.02):
            with secure_channel(port, authority.pem, client) as channel:
                call("fresh", channel)

    kinds: list[Callable[[], None]] = [steady] * _STEADY + [fresh] * _FRESH
    threads = [threading.Thread(target=kind) for kind in kinds]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _bar(name: str, value: float, relation: str, bar: float) -> Measure:
    return Measure(name=name, value=value, relation=relation, bar=bar)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=FULL.seconds)
    sys.exit(report(measures(Size(parser.parse_args().seconds, FULL.seen_within_s))))
