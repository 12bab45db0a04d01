"""A second replica that comes for an act of the evening, and goes with it."""

from __future__ import annotations

import random
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
from tests.observability.evening_proxy import Proxy
from tests.observability.evening_stage import Stage
from tests.pictures import jpeg

_FAR_S = 2.0
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
def with_a_slow_way(stage: Stage) -> Iterator[None]:
    """Run one whose upstream is as good as the other's, and far away; call it."""
    keys = {"default": stage.engine.create_library("second")}
    over = threading.Event()
    with Proxy(stage.engine.url) as way, Facade(stage.folder / "far", way.url, keys) as second:
        assert isinstance(way, Proxy)
        way.delay_s = _FAR_S
        calls = [threading.Thread(target=_calling, args=(second, over)) for _ in range(3)]
        for each in calls:
            each.start()
        try:
            with _asked(second, stage.prometheus):
                yield
        finally:
            over.set()
            for each in calls:
                each.join()


@contextmanager
def _asked(second: Facade, prometheus: Prometheus) -> Iterator[None]:
    prometheus.add_target("facade", second.metrics)
    yield
    prometheus.remove_target("facade", second.metrics)
    time.sleep(_FORGOTTEN_S)


def _calling(second: Facade, over: threading.Event) -> None:
    image = v1.ImageSource(content=jpeg(1))
    with v1.connect(second.url) as channel:
        while not over.wait(0.2):
            # Equal searches at the same time would share one answer.
            request = v1.SearchImagesRequest(image=image, page_size=random.randint(1, 300))
            try:
                v1.ProductSearchStub(channel).SearchImages(request, timeout=10)
            except grpc.RpcError:
                continue
