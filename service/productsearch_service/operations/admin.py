"""The two ports beside the service: health, reflection and channelz by gRPC; metrics by HTTP.

Both have threads of their own and answer while the service's are all busy. They are two because
gRPC does not share a port with HTTP/1. Plaintext and open to whoever reaches them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import grpc
from grpc_channelz.v1 import channelz  # type: ignore[import-untyped] # it has no types
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from productsearch_service import limits
from productsearch_service.interceptors import SERVICE
from productsearch_service.operations.scraping import Scraping
from productsearch_service.ports import CannotListen, open_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from productsearch_service.operations.health import Health

REFLECTED: Final = (SERVICE.strip("/"), health.SERVICE_NAME, reflection.SERVICE_NAME)
"""Services that reflection lists."""
_CHANNELZ: Final = "grpc.channelz.v1.Channelz"


class Admin:
    """Both ports, or the one that has an address; 0 stands for a port that is not open."""

    def __init__(
        self,
        admin_listen: str,
        metrics_listen: str,
        health: Health,
        registry: CollectorRegistry,
        obstacle: Callable[[], str],
    ) -> None:
        wrong = []
        self.admin_port = self.metrics_port = 0
        self._server: grpc.Server | None = None
        self._scraping: Scraping | None = None
        try:
            if admin_listen:
                self._server = _server(health)
                self.admin_port = open_port(self._server, "admin_listen", admin_listen)
        except CannotListen as error:
            wrong.append(str(error))
        try:
            if metrics_listen:
                self._scraping = Scraping("metrics_listen", metrics_listen, registry, obstacle)
                self.metrics_port = self._scraping.port
        except CannotListen as error:
            wrong.append(str(error))
        if wrong:
            raise CannotListen("\n".join(wrong))

    def start(self) -> None:
        """Begin to answer."""
        if self._server is not None:
            self._server.start()
        if self._scraping is not None:
            self._scraping.start()

    def stop(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.stop(0).wait()
        if self._scraping is not None:
            self._scraping.close()


def _server(health: Health) -> grpc.Server:
    server = grpc.server(
        ThreadPoolExecutor(limits.ADMIN_THREADS, thread_name_prefix="admin"),
        options=(("grpc.so_reuseport", 0),),
    )
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    channelz.add_channelz_servicer(server)
    reflection.enable_server_reflection((*REFLECTED, _CHANNELZ), server)
    return server
