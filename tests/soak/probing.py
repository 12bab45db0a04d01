"""Asks a service for health and metrics all along, from a process of its own.

As a kubelet and Prometheus would: a prober that shared a process with hundreds of callers would
measure how long it waits for them. Beside each answer it notes how late itself was woken, which
is the machine's part.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_EVERY_S = 0.02


@dataclass
class Answers:
    """Seconds that each answer took, and that each wake-up came late; filled at the end."""

    health_s: list[float] = field(default_factory=list)
    metrics_s: list[float] = field(default_factory=list)
    woken_late_s: list[float] = field(default_factory=list)


@contextlib.contextmanager
def probed(health: str, metrics: str) -> Iterator[Answers]:
    """Probe two addresses until the end of the context; a probe that fails raises there."""
    answers = Answers()
    command = [sys.executable, "-m", "tests.soak.probing", health, metrics]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as prober:
        assert prober.stdout is not None
        assert prober.stdout.readline() == "probing\n"
        yield answers
        out, _ = prober.communicate()
    assert 0 == prober.returncode
    answers.__dict__.update(json.loads(out))


def _probe(health: str, metrics: str) -> Answers:
    answers = Answers()
    with grpc.insecure_channel(health) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its types lack the methods
        check = stub.Check
        check(health_pb2.HealthCheckRequest(), timeout=30)
        print("probing", flush=True)
        while not _told_to_stop():
            answers.health_s.append(_seconds(lambda: check(health_pb2.HealthCheckRequest())))
            answers.metrics_s.append(_seconds(lambda: _scrape(metrics)))
            answers.woken_late_s.append(_seconds(lambda: time.sleep(_EVERY_S)) - _EVERY_S)
    return answers


def _told_to_stop() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


def _scrape(address: str) -> None:
    connection = http.client.HTTPConnection(address, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert (200, True) == (answer.status, b"productsearch_rpcs_in_flight" in answer.read())


def _seconds(act: Callable[[], object]) -> float:
    began_s = time.monotonic()
    act()
    return time.monotonic() - began_s


if __name__ == "__main__":
    print(json.dumps(_probe(*sys.argv[1:]).__dict__))
