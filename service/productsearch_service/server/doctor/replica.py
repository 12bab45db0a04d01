"""The service that runs on this machine with the same settings, seen from beside it."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from productsearch_service.settings import Settings
from productsearch_service.settings_values import host_and_port

_TIMEOUT_S: Final = 0.6
_OURS: Final = "productsearch"
_SERVICE: Final = "productsearch.v1.ProductSearch"


@dataclass(frozen=True, slots=True)
class Replica:
    """What its HTTP port said: why it is not ready (empty: it is), and its metrics.

    ``hangs``: what listens there accepts connections and says nothing.
    """

    not_ready: str
    metrics: str
    hangs: bool = False

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


def status_at(address: str, certificate: Path | None = None) -> str:
    """Return what a service of ours says at a gRPC port; empty: none is there.

    With TLS there is no certificate for us: who shows ``certificate`` is it, and counts as serving.
    """
    host, port = _from_here(address)
    if certificate is None:
        if not _accepts(host, port):
            return ""
        from productsearch_service.observability import health

        at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        status = health.ask(at, _SERVICE, _TIMEOUT_S)
        return "" if status == health.UNREACHABLE else status
    try:
        shown = ssl.get_server_certificate((host, port), timeout=_TIMEOUT_S)
        return "SERVING" if shown.strip() in certificate.read_text("ascii") else ""
    except (OSError, ValueError):
        return ""


def _accepts(host: str, port: int) -> bool:
    """Return whether anything listens there: gRPC takes long to import."""
    try:
        socket.create_connection((host, port), _TIMEOUT_S).close()
    except OSError:
        return False
    return True


def _from_here(address: str) -> tuple[str, int]:
    host, port = host_and_port(address)
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - nothing is bound


def running(settings: Settings) -> Replica | None:
    """Return the service that answers at ``metrics_listen``; None if no service of ours does."""
    if not settings.metrics_listen:
        return None
    host, port = _from_here(settings.metrics_listen)
    try:
        server, ready, told = _get(host, port, "/readyz")
        if server != _OURS:
            return None
        return Replica("" if ready else told.strip(), _get(host, port, "/metrics")[2])
    except TimeoutError:
        return Replica("", "", hangs=True)
    except (OSError, http.client.HTTPException):
        return None


def _get(host: str, port: int, path: str) -> tuple[str, bool, str]:
    line = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        line.request("GET", path)
        answer = line.getresponse()
        good = answer.status == http.HTTPStatus.OK
        return answer.getheader("Server", ""), good, answer.read().decode(errors="replace")
    finally:
        line.close()
