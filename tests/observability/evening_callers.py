"""The callers of the evening: two polite ones all along, and others who come for an act."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from productsearch import v1
from tests.identity.authority import Authority, Issued
from tests.mesh.gateway import Certificates
from tests.pictures import jpeg

_NAMES = ("catalogue", "shop", "greedy", "stranger")
_PAUSE_S = 1.0
_PATIENCE_S = 10.0
_ALONE = [("grpc.use_local_subchannel_pool", 1)]


def identity(name: str) -> str:
    """Return what the certificate of a caller says."""
    return f"spiffe://productsearch.example/{name}"


def write_policy(folder: Path) -> Path:
    """Write the policy of the evening: all but the stranger may do everything."""
    known = [identity(name) for name in _NAMES if name != "stranger"]
    # Who is not listed is `other` in the metrics, and takes nobody's quota by name.
    listed = "".join(f'[callers."{each}"]\n' for each in known)
    path = folder / "policy.toml"
    path.write_text(f"{listed}[[rules]]\ncallers = {known}\n")
    return path


def write_certificates(folder: Path) -> Certificates:
    """Write the gateway's certificate and those of the callers, of one authority."""
    folder.mkdir()
    authority = Authority()
    ended = authority.issue(uris=[identity("catalogue")], hours_ago=1)
    _write(folder, "ended", ended)
    _write(folder, "tls", authority.issue(dns=["localhost"], ips=["127.0.0.1"]))
    for name in _NAMES:
        _write(folder, name, authority.issue(uris=[identity(name)]))
    (folder / "ca.crt").write_bytes(authority.pem)
    return Certificates(folder)


def _write(folder: Path, name: str, issued: Issued) -> None:
    (folder / f"{name}.crt").write_bytes(issued.certificate)
    (folder / f"{name}.key").write_bytes(issued.key)


class Load:
    """A context in which two callers search, add and send streams, through the gateway."""

    def __init__(self, gateway: str, certificates: Certificates) -> None:
        self._gateway = gateway
        self._certificates = certificates
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
            *[lambda over: self._repeat("greedy", over, self._search, 6.0, 0.5)] * 44
        ):
            yield

    @contextmanager
    def crowd(self) -> Iterator[None]:
        """Three callers ask for far more than the quota, each for as much as the others."""
        with self._during(
            *[
                lambda over, name=name: self._repeat(name, over, self._search, 6.0, 1.0)
                for name in ("catalogue", "shop", "greedy") * 14
            ]
        ):
            yield

    @contextmanager
    def poison(self) -> Iterator[None]:
        """One caller sends what is no image, one by one and as a stream."""
        with self._during(lambda over: self._repeat("greedy", over, self._poisonous, 5.0, 0.1)):
            yield

    @contextmanager
    def not_trusted(self) -> Iterator[None]:
        """One caller shows a certificate that has ended."""
        with self._during(lambda over: self._repeat("ended", over, self._search, 5.0, 0.5)):
            yield

    @contextmanager
    def images_at(self, host: str) -> Iterator[None]:
        """One caller searches by addresses of a host."""

        def work(stub: v1.ProductSearchStub, _: int, patience_s: float) -> None:
            # Equal searches at the same time would share one answer.
            image = v1.ImageSource(url=f"http://{host}/{random.random()}.jpg")
            stub.SearchImages(v1.SearchImagesRequest(image=image), timeout=patience_s)

        with self._during(*[lambda over: self._repeat("greedy", over, work, 30.0, 0.1)] * 4):
            yield

    @contextmanager
    def flood(self) -> Iterator[None]:
        """One caller asks more often than the gateway lets anybody, and for nothing that exists."""
        with self._during(
            *[lambda over: self._repeat("greedy", over, self._misspelt, 5.0, 0.02)] * 6
        ):
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
            credentials = self._certificates.credentials(name)
            with v1.connect(self._gateway, credentials=credentials, options=_ALONE) as channel:
                stub = v1.ProductSearchStub(channel)
                while not over.is_set():
                    number += 1
                    try:
                        work(stub, number, patience_s)
                    except grpc.RpcError as problem:
                        if problem.code() == grpc.StatusCode.UNAVAILABLE:
                            time.sleep(0.2)
                            break  # a new connection: gRPC waits longer and longer for an old one
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

    def _misspelt(self, stub: v1.ProductSearchStub, number: int, patience_s: float) -> None:
        ref = v1.ImageRef(cont_sign=f"no signature {number}")
        stub.DeleteImage(v1.DeleteImageRequest(image_ref=ref), timeout=patience_s)
