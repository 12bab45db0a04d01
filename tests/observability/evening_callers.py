"""The callers of the evening: two polite ones all along, and others who come for an act."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from demo.facade import Facade
from productsearch import v1
from tests.identity.authority import Authority, ServerFiles
from tests.observability.evening_prometheus import Prometheus
from tests.pictures import jpeg

_NAMES = ("catalogue", "shop", "greedy", "stranger")
_PAUSE_S = 1.0
_PATIENCE_S = 10.0


def tokens() -> dict[str, str]:
    """Return the callers' bearer tokens by name."""
    return {name: f"a-token-of-{name}-for-the-evening" for name in _NAMES}


def write_policy(folder: Path) -> Path:
    """Write the policy of the evening: all but the stranger may do everything."""
    lines = []
    for name, token in tokens().items():
        if name != "stranger":
            digest = hashlib.sha256(token.encode()).hexdigest()
            lines += [f"[callers.{name}]", f'token_sha256 = ["{digest}"]']
    lines += ["[[rules]]", 'callers = ["catalogue", "shop", "greedy"]']
    path = folder / "policy.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


class Load:
    """A context in which two callers search, add, delete, send batches and streams."""

    def __init__(self, facade: Facade, bearers: dict[str, str]) -> None:
        self._facade = facade
        self._tokens = bearers
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._images = [v1.ImageSource(content=jpeg(number)) for number in range(20)]

    def __enter__(self) -> Self:
        for name in ("catalogue", "shop"):
            self._begin(self._polite, name, self._over)
        self._begin(self._refused, "stranger", self._over)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    @contextmanager
    def greedy(self) -> Iterator[None]:
        """One caller asks for far more than the quota, with little patience."""
        with self._during(
            *[lambda over: self._repeat("greedy", over, self._search, 6.0, 0.1)] * 44
        ):
            yield

    @contextmanager
    def poison(self) -> Iterator[None]:
        """One caller sends what is no image, one by one and as a stream."""
        with self._during(lambda over: self._repeat("greedy", over, self._poisonous, 5.0, 0.1)):
            yield

    @contextmanager
    def beside(self, work: Callable[[], None]) -> Iterator[None]:
        """Repeat some work of another kind."""

        def run(over: threading.Event) -> None:
            while not over.is_set():
                work()

        with self._during(run):
            yield

    @contextmanager
    def second_facade_with_a_certificate(
        self, folder: Path, prometheus: Prometheus
    ) -> Iterator[None]:
        """Run another facade whose certificate ends in an hour."""
        files = ServerFiles(folder / "tls", Authority()).settings(mutual=False)
        environment = {f"PRODUCTSEARCH_{name.upper()}": str(path) for name, path in files.items()}
        keys = {"default": ("a", "b")}
        second = Facade(folder / "second", "http://127.0.0.1:9", keys, environment=environment)
        with second:
            prometheus.add_target("facade", second.metrics)
            yield
            prometheus.remove_target("facade", second.metrics)
            time.sleep(3)

    @contextmanager
    def _during(self, *works: Callable[[threading.Event], None]) -> Iterator[None]:
        over = threading.Event()
        threads = [threading.Thread(target=work, args=[over], daemon=True) for work in works]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join(60)

    def _begin(
        self, work: Callable[[str, threading.Event], None], name: str, over: threading.Event
    ) -> None:
        thread = threading.Thread(target=work, args=[name, over], daemon=True)
        thread.start()
        self._threads.append(thread)

    def _polite(self, name: str, over: threading.Event) -> None:
        self._repeat(name, over, self._everything, _PATIENCE_S, _PAUSE_S)

    def _refused(self, name: str, over: threading.Event) -> None:
        self._repeat(name, over, self._search, _PATIENCE_S, 5.0)

    def _repeat(
        self,
        name: str,
        over: threading.Event,
        work: Callable[[v1.ProductSearchStub, int, float], None],
        patience_s: float,
        pause_s: float,
    ) -> None:
        number = 0
        while not over.is_set():
            with v1.connect(self._facade.url, token=self._tokens[name], tls=False) as channel:
                stub = v1.ProductSearchStub(channel)
                while not over.is_set():
                    number += 1
                    try:
                        work(stub, number, patience_s)
                    except grpc.RpcError as problem:
                        if problem.code() == grpc.StatusCode.UNAVAILABLE:
                            time.sleep(0.2)
                            break  # the facade may have another port now
                    time.sleep(pause_s)

    def _search(self, stub: v1.ProductSearchStub, number: int, patience_s: float) -> None:
        # Equal searches at the same time would share one answer.
        image, size = self._images[number % len(self._images)], random.randint(1, 300)
        stub.SearchImages(v1.SearchImagesRequest(image=image, page_size=size), timeout=patience_s)

    def _everything(self, stub: v1.ProductSearchStub, number: int, patience_s: float) -> None:
        self._search(stub, number, patience_s)
        new = v1.NewImage(image=self._images[number % len(self._images)], brief="b")
        keep = v1.DuplicatePolicy.DUPLICATE_POLICY_KEEP
        if number % 5 == 0:
            request = v1.AddImageRequest(new_image=new, duplicate_policy=keep)
            stub.AddImage(request, timeout=patience_s)
        if number % 10 == 0:
            item = v1.BulkAddImagesRequest(
                item=v1.BulkAddImagesRequest.Item(key="k", new_image=new)
            )
            settings = v1.BulkAddImagesRequest(
                settings=v1.BulkAddImagesRequest.Settings(duplicate_policy=keep)
            )
            [*stub.BulkAddImages(iter([settings, item]), timeout=patience_s)]

    def _poisonous(self, stub: v1.ProductSearchStub, number: int, patience_s: float) -> None:
        image = v1.ImageSource(content=b"no image %d" % number)
        stub.SearchImages(v1.SearchImagesRequest(image=image), timeout=patience_s)
