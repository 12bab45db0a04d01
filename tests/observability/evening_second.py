"""A second replica that comes for an act of the evening, and goes with it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from demo.facade import Facade
from productsearch import v1
from tests.identity.authority import Authority, ServerFiles
from tests.observability.evening_prometheus import Prometheus
from tests.observability.evening_stage import Stage
from tests.pictures import jpeg

_STOPPED_S, _RUNS_S = 0.6, 0.2
_FORGOTTEN_S = 3
"""Until Prometheus has no series of it any more."""


@contextmanager
def with_a_certificate(folder: Path, prometheus: Prometheus) -> Iterator[None]:
    """Run one whose certificate ends in an hour."""
    files = ServerFiles(folder / "tls", Authority()).settings(mutual=False)
    environment = {f"PRODUCTSEARCH_{name.upper()}": str(path) for name, path in files.items()}
    keys = {"default": ("a", "b")}
    second = Facade(folder / "second", "http://127.0.0.1:9", keys, environment=environment)
    with second, _asked(second, prometheus):
        yield


@contextmanager
def without_a_processor(stage: Stage) -> Iterator[None]:
    """Run one that gets a quarter of a processor's time, and call it."""
    keys = {"default": stage.engine.create_library("second")}
    over = threading.Event()
    with Facade(stage.folder / "slow", stage.proxy.url, keys) as second:
        works = [
            threading.Thread(target=_halting, args=(second, over)),
            threading.Thread(target=_calling, args=(second, over)),
        ]
        for work in works:
            work.start()
        try:
            with _asked(second, stage.prometheus):
                yield
        finally:
            over.set()
            for work in works:
                work.join()


@contextmanager
def _asked(second: Facade, prometheus: Prometheus) -> Iterator[None]:
    prometheus.add_target("facade", second.metrics)
    yield
    prometheus.remove_target("facade", second.metrics)
    time.sleep(_FORGOTTEN_S)


def _halting(second: Facade, over: threading.Event) -> None:
    while not over.wait(_RUNS_S):
        os.kill(second.pid, signal.SIGSTOP)
        over.wait(_STOPPED_S)
        os.kill(second.pid, signal.SIGCONT)


def _calling(second: Facade, over: threading.Event) -> None:
    request = v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(1)))
    with v1.connect(second.url) as channel:
        while not over.wait(0.2):
            try:
                v1.ProductSearchStub(channel).SearchImages(request, timeout=10)
            except grpc.RpcError:
                continue
