"""How tests ask a running service for its health and its metrics."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Protocol

_PATIENCE_S = 30.0


class Running(Protocol):
    """A service whose metrics port can be asked: a process, or a server in this one."""

    @property
    def metrics(self) -> str:
        """Address of metrics and probes by HTTP."""


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds; fail if it never does."""
    end_s = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, f"never: {what}"
        time.sleep(0.02)


def http(process: Running, path: str) -> tuple[int, str]:
    """Return status and body of a path at the metrics port."""
    return http_at(process.metrics, path)


def http_at(address: str, path: str, timeout_s: float = _PATIENCE_S) -> tuple[int, str]:
    """Return status and body of a path at an address."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=timeout_s) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def until_ready(process: Running) -> None:
    """Wait until the service says that it is ready."""
    until(lambda: http(process, "/readyz")[0] == 200, "ready")


def metrics(process: Running) -> dict[str, float]:
    """Return all samples by name with labels, as they are written."""
    lines = http(process, "/metrics")[1].splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}
