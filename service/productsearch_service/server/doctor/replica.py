"""The service that runs on this machine with the same settings, seen from beside it."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from productsearch_service.counters import PREFIX
from productsearch_service.settings import Settings, host_and_port

_TIMEOUT_S: Final = 0.8
_OURS: Final = "productsearch"


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
        for family in text_string_to_metric_families(self.metrics):
            for sample in family.samples:
                if sample.name == PREFIX + name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None


def running(settings: Settings) -> Replica | None:
    """Return the service that answers at ``metrics_listen``; None if no service of ours does."""
    if not settings.metrics_listen:
        return None
    host, port = host_and_port(settings.metrics_listen)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound
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
