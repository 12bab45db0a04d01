"""A service with all its ports in this process, where the process itself is not what is tested."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from productsearch_service.settings import Settings
from tests.facade import Server
from tests.fakes.upstream import FakeUpstream


@dataclass(frozen=True)
class Replica:
    """Addresses of a running service."""

    url: str
    admin: str
    metrics: str


@contextmanager
def replica_of(upstream: FakeUpstream, *libraries: str, **settings: Any) -> Iterator[Replica]:
    """Serve these libraries (none: ``default``) in front of the fake upstream."""
    library = {"base_url": upstream.url, "api_key": "k", "secret_key": "s", "quota_qps": 0}
    chosen = Settings(
        listen="127.0.0.1:0",
        admin_listen="127.0.0.1:0",
        metrics_listen="127.0.0.1:0",
        libraries=dict.fromkeys(libraries or ("default",), library),
        drain_delay_s=0,
        drain_grace_s=1,
        **settings,
    )
    server = Server(chosen, with_admin=True)
    try:
        server.start()
        ports = (server.port, server.admin_port, server.metrics_port)
        yield Replica(*(f"127.0.0.1:{port}" for port in ports))
    finally:
        server.stop()
