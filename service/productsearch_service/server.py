"""Puts the parts together and runs them: libraries, ports, health, readiness, stop.

Knows every room and no pictures.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from productsearch import v1
from productsearch_service import limits
from productsearch_service.access.identity import Identification
from productsearch_service.access.policy import Policy, read_content
from productsearch_service.admission import Admission
from productsearch_service.building import build_library
from productsearch_service.certificates import Pem
from productsearch_service.draining import Drain, wait_for_signal
from productsearch_service.interceptors import Surroundings
from productsearch_service.libraries import Libraries
from productsearch_service.operations import metrics
from productsearch_service.operations.admin import REFLECTED, Admin
from productsearch_service.operations.health import Health
from productsearch_service.operations.readiness import Readiness
from productsearch_service.operations.rpcs import RpcCounts
from productsearch_service.ports import CannotListen, open_port, server_credentials
from productsearch_service.reloading import Reloaded, Watch
from productsearch_service.servicer import Servicer

if TYPE_CHECKING:
    from productsearch_service.settings import Settings

_log = logging.getLogger(__name__)

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", limits.RECEIVE_BYTES_MAX),
    ("grpc.keepalive_time_ms", limits.KEEPALIVE_TIME_MS),
    ("grpc.keepalive_timeout_ms", limits.KEEPALIVE_TIMEOUT_MS),
    # Go and Java clients ping idle connections; without these two they get GOAWAY.
    ("grpc.http2.min_ping_interval_without_data_ms", limits.PING_INTERVAL_MIN_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    # What waits for a worker waits at its sender: else the transport would buffer it whole.
    ("grpc.http2.bdp_probe", 0),
    # Two servers on one port would share its connections, not its calls.
    ("grpc.so_reuseport", 0),
)


class Server:
    """The service, listening from the beginning; raises CannotListen with a line for each port.

    ``with_admin``: also the ports beside it, and health follows readiness, which fetches tokens
    ahead. Without, as in tests, health says SERVING and the first call fetches the token.
    """

    def __init__(self, settings: Settings, *, with_admin: bool = False) -> None:
        self._settings = settings
        self._libraries = Libraries(
            {
                name: build_library(library, settings.replicas)
                for name, library in settings.libraries.items()
            },
            settings.default_library,
        )
        self._drain = Drain()
        self._health = Health()
        self._readiness = Readiness(self._libraries.all(), self._health.tell)
        self._policy = _policy(settings)
        self._certificates = _certificates(settings)
        self._counts = RpcCounts()
        self._admissions = {
            kind: Admission(
                calls_max=calls_max,
                bytes_max=limits.BYTES_IN_FLIGHT_MAX,
                others_share=limits.OTHERS_SHARE,
            )
            for kind, calls_max in (
                ("unary", limits.RPCS_IN_FLIGHT_MAX),
                ("stream", limits.BULK_STREAMS_MAX),
            )
        }
        self._server = self._service()
        self._admin: Admin | None = None
        self.port = 0
        """The port that the service really listens on."""
        self._open(with_admin)
        self._watch = Watch(self._reloaded, settings.tls_poll_s)

    @property
    def admin_port(self) -> int:
        """Port of health, reflection and channelz by gRPC; 0: none."""
        return self._admin.admin_port if self._admin else 0

    @property
    def metrics_port(self) -> int:
        """Port of metrics and probes by HTTP; 0: none."""
        return self._admin.metrics_port if self._admin else 0

    def start(self) -> None:
        """Begin to serve."""
        self._server.start()
        if self._admin is None:
            self._health.tell(True)
        else:
            self._admin.start()
            self._readiness.start()

    def stop(self, hurry: threading.Event) -> None:
        """Stop without failing a call: say so, go on for the drain delay, then end with grace.

        Whoever balances calls needs the delay to notice; without it each new call in that
        window fails. ``hurry`` cuts delay and grace short.
        """
        self._readiness.close()
        self._health.stop()
        _log.info("stopping: not ready any more, serving on for the drain delay")
        wait_for_signal(hurry, self._settings.drain_delay_s)
        self._drain.begin()
        # Calls that still come are refused in words, for a moment: grpc would cut them off.
        wait_for_signal(hurry, min(limits.DRAIN_REFUSAL_S, self._settings.drain_delay_s))
        ended = self._server.stop(0 if hurry.is_set() else self._settings.drain_grace_s)
        while not ended.wait(0.1):
            if hurry.is_set():
                self._server.stop(0)
        self._watch.close()
        self._libraries.close()
        if self._admin is not None:
            self._admin.stop()
        _log.info("stopped")

    @property
    def _reloaded(self) -> list[Reloaded[Any, Any]]:
        return [each for each in (self._policy, self._certificates) if each is not None]

    def _policy_now(self) -> Policy | None:
        return self._policy.value if self._policy is not None else None

    def _service(self) -> grpc.Server:
        settings = self._settings
        identification = Identification(
            self._policy_now,
            certificates=settings.tls_client_ca_file is not None,
            sidecars=settings.sidecars,
        )
        server = grpc.server(
            ThreadPoolExecutor(
                limits.RPCS_IN_FLIGHT_MAX + limits.BULK_STREAMS_MAX + limits.REFUSAL_THREADS,
                thread_name_prefix="rpc",
            ),
            interceptors=[
                Surroundings(
                    self._libraries,
                    self._drain,
                    self._admissions["unary"],
                    self._admissions["stream"],
                    identification,
                    self._policy_now,
                    self._counts,
                )
            ],
            options=(*_OPTIONS, *_age(settings.connection_age_max_s)),
        )
        v1.add_ProductSearchServicer_to_server(Servicer(self._libraries, self._drain), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, server)
        if settings.reflection:
            reflection.enable_server_reflection(REFLECTED, server)
        return server

    def _open(self, with_admin: bool) -> None:
        settings = self._settings
        wrong = []
        try:
            credentials = server_credentials(self._certificates) if self._certificates else None
            self.port = open_port(self._server, "listen", settings.listen, credentials)
        except CannotListen as error:
            wrong.append(str(error))
        try:
            if with_admin:
                self._admin = self._beside()
        except CannotListen as error:
            wrong.append(str(error))
        if wrong:
            raise CannotListen("\n".join(wrong))

    def _beside(self) -> Admin:
        registry = metrics.registry(
            metrics.RpcCollector(self._counts, self._admissions),
            metrics.LibraryCollector(self._libraries.all()),
            metrics.StateCollector(self._readiness, self._reloaded),
        )
        settings = self._settings
        return Admin(
            settings.admin_listen, settings.metrics_listen, self._health, registry, self._obstacle
        )

    def _obstacle(self) -> str:
        """Return why this replica is not ready, or nothing."""
        if self._readiness.ready:
            return ""
        found = self._readiness.obstacles
        return "\n".join(f"{name}: {why}" for name, why in found.items()) or "stopping"


def _age(max_s: float) -> tuple[tuple[str, int], ...]:
    """Return the options that end old connections; without the grace, gRPC would cut calls."""
    if not max_s:
        return ()
    return (
        ("grpc.max_connection_age_ms", int(max_s * 1000)),
        ("grpc.max_connection_age_grace_ms", limits.CONNECTION_AGE_GRACE_MS),
    )


def _policy(settings: Settings) -> Reloaded[bytes, Policy] | None:
    path = settings.policy_file
    if path is None:
        return None
    return Reloaded("policy_file", lambda: read_content(path), Policy.parse)


def _certificates(settings: Settings) -> Reloaded[Pem, Pem] | None:
    files = settings.certificate_files
    return Reloaded("tls_cert_file", files.read, files.check) if files is not None else None
