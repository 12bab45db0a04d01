"""A facade that a test looks into from outside: by its metrics, its probes and its sockets."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import grpc
import psutil
from prometheus_client.parser import text_string_to_metric_families

from productsearch import v1
from tests.facade import Server
from tests.fakes.upstream import Fault
from tests.pictures import numbered_jpeg


class Watched:
    """A facade with its metrics port, and a stub whose channel repeats nothing by itself."""

    def __init__(self, server: Server, channel: grpc.Channel) -> None:
        self.server = server
        self.stub = v1.ProductSearchStub(channel)

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples with these labels."""
        found = 0.0
        for family in text_string_to_metric_families(self._get("/metrics")[1]):
            for sample in family.samples:
                if sample.name in (name, f"productsearch_{name}"):
                    fits = labels.items() <= sample.labels.items()
                    found += sample.value if fits else 0
        return found

    def by_label(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Return the sums of a metric's samples by one of their labels, without zeros."""
        found: Counter[str] = Counter()
        for family in text_string_to_metric_families(self._get("/metrics")[1]):
            for sample in family.samples:
                fits = labels.items() <= sample.labels.items()
                if sample.name == f"productsearch_{name}" and fits and sample.value:
                    found[sample.labels[label]] += sample.value  # type: ignore[assignment]
        return dict(found)

    def in_flight(self, kind: str = "unary") -> float:
        """Return how many RPCs hold an admission place."""
        return self.metric("rpcs_in_flight", kind=kind)

    def readyz(self) -> int:
        """Return the HTTP status of /readyz."""
        return self._get("/readyz")[0]

    def tasks(self) -> Counter[str]:
        """Return the asyncio tasks of the facade's event loop, by what they run."""
        found: Counter[str] = self.server.run(_tasks())
        return found

    def _get(self, path: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.server.metrics_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()


async def _tasks() -> Counter[str]:
    coroutines = [task.get_coro() for task in asyncio.all_tasks()]
    return Counter(getattr(each, "__qualname__", repr(each)) for each in coroutines)


class Held:
    """An answer that is kept back until it is released; ``arrived`` counts who asked for it."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self._released = threading.Event()
        self._lock = threading.Lock()
        self.arrived = 0

    def __call__(self, _: object) -> Any:
        """Wait, then return the answer."""
        with self._lock:
            self.arrived += 1
        self._released.wait(30)
        return self._answer

    def release(self) -> None:
        """Let all answers go, later ones too."""
        self._released.set()


def late(seconds: float, answer: Any) -> Fault:
    """Return an answer that comes after ``seconds``."""
    return Fault(seconds=seconds, body=json.dumps(answer).encode())


def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    """Wait for a condition; fail if it does not come true."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.01)


def outcome(call: Any) -> str:
    """Return what a call came to: ``OK``, the reason of its error, or else gRPC's code."""
    code = call.code()
    if code is grpc.StatusCode.OK:
        return "OK"
    reason = v1.reason_of(call)
    return f"bare {code.name}" if reason is None else v1.ErrorReason.Name(reason)


def error_of(result: v1.BatchDeleteImagesResponse.Result) -> str:
    """Return the reason of one result of a batch, or ``OK``."""
    if not result.HasField("error"):
        return "OK"
    reason = v1.reason_of(result.error)
    return v1.ErrorReason.Name(reason or 0)


def forwarded_for(caller: str) -> Any:
    """Return the metadata with which a sidecar passes on a call of ``caller``."""
    return (("x-forwarded-client-cert", f"URI=spiffe://mesh.example/{caller}"),)


def connections_to(url: str) -> int:
    """Return how many sockets of this process are connected to the host and port of ``url``."""
    port = urlsplit(url).port
    sockets = psutil.Process().net_connections(kind="tcp")
    return sum(bool(each.raddr) and each.raddr.port == port for each in sockets)


def image(number: int) -> v1.ImageSource:
    """Return a small image; another number is another image."""
    return v1.ImageSource(content=numbered_jpeg(number))


def search(number: int, library: str = "") -> v1.SearchImagesRequest:
    """Return the search for an image."""
    return v1.SearchImagesRequest(library=library, image=image(number))


def add(number: int, library: str = "") -> v1.AddImageRequest:
    """Return the add of an image."""
    new_image = v1.NewImage(image=image(number), brief=f"brief {number}")
    return v1.AddImageRequest(library=library, new_image=new_image)
