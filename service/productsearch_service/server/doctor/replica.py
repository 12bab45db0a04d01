"""The service that runs on this machine with the same settings, seen from beside it."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from productsearch_service.call_context import Deadline
from productsearch_service.server.doctor.finding import turn_s
from productsearch_service.settings import Settings
from productsearch_service.settings_values import host_and_port

_OURS: Final = "productsearch"
_SERVICE: Final = "productsearch.v1.ProductSearch"


class Silent(Exception):
    """What listens at a port said nothing for so many seconds, ``waited_s``."""

    def __init__(self, waited_s: float) -> None:
        super().__init__(waited_s)
        self.waited_s = waited_s


@dataclass(frozen=True, slots=True)
class Replica:
    """What its HTTP port said: why it is not ready (empty: it is), and its metrics.

    ``silent_s``: for how long what listens there accepted a connection and said nothing.
    """

    not_ready: str
    metrics: str
    silent_s: float = 0.0

    def value(self, name: str, **labels: str) -> float | None:
        """Return one sample, or None if there is none."""
        from prometheus_client.parser import text_string_to_metric_families

        from productsearch_service.counters import PREFIX

        for family in text_string_to_metric_families(self.metrics):
            for sample in family.samples:
                if sample.name == PREFIX + name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None


Beside = Callable[[], Replica | None]
"""Waits for what is found beside the doctor."""


def status_at(address: str, waits: Deadline, certificate: Path | None = None) -> str:
    """Return what a service of ours says at a gRPC port; empty: none is there.

    Raises Silent if nothing was said in time. With TLS there is no certificate for us: who shows
    ``certificate`` is it, and counts as serving.
    """
    host, port = _from_here(address)
    limit_s = turn_s(waits)
    try:
        if certificate is not None:
            shown = ssl.get_server_certificate((host, port), timeout=limit_s)
            return "SERVING" if shown.strip() in certificate.read_text("ascii") else ""
        # gRPC takes long to import: first, whether anything listens there.
        socket.create_connection((host, port), limit_s).close()
    except TimeoutError:
        raise Silent(limit_s) from None
    except (OSError, ValueError):
        return ""
    from productsearch_service.observability import health

    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    limit_s, began_s = turn_s(waits), time.monotonic()
    status = health.ask(at, _SERVICE, limit_s)
    if status != health.UNREACHABLE:
        return status
    if time.monotonic() - began_s >= limit_s:
        raise Silent(limit_s)
    return ""


def _from_here(address: str) -> tuple[str, int]:
    host, port = host_and_port(address)
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - nothing is bound


def running(settings: Settings, waits: Deadline) -> Replica | None:
    """Return the service that answers at ``metrics_listen``; None if no service of ours does."""
    if not settings.metrics_listen:
        return None
    host, port = _from_here(settings.metrics_listen)
    limit_s = turn_s(waits)
    try:
        server, ready, told = _get(host, port, "/readyz", limit_s)
        if server != _OURS:
            return None
        limit_s = turn_s(waits)
        return Replica("" if ready else told.strip(), _get(host, port, "/metrics", limit_s)[2])
    except TimeoutError:
        return Replica("", "", silent_s=limit_s)
    except (OSError, http.client.HTTPException):
        return None


def _get(host: str, port: int, path: str, limit_s: float) -> tuple[str, bool, str]:
    line = http.client.HTTPConnection(host, port, timeout=limit_s)
    try:
        line.request("GET", path)
        answer = line.getresponse()
        good = answer.status == http.HTTPStatus.OK
        return answer.getheader("Server", ""), good, answer.read().decode(errors="replace")
    finally:
        line.close()
