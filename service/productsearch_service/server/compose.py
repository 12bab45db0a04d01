"""Builds the service from its settings, and runs it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import grpc

from productsearch_service.audit import Audit
from productsearch_service.call_context import remember_outer_tasks
from productsearch_service.counters import Counters
from productsearch_service.identity.identify import Identification
from productsearch_service.images.form_encoding import FormEncoder
from productsearch_service.library.library import Libraries
from productsearch_service.observability import sameness
from productsearch_service.observability.health import Health
from productsearch_service.observability.http import MetricsServer
from productsearch_service.observability.liveness import Liveness
from productsearch_service.observability.metrics import ServiceStates
from productsearch_service.observability.reachability import Reachability
from productsearch_service.observability.readiness import Readiness
from productsearch_service.rpc.access_record import AccessLog
from productsearch_service.rpc.admission import Admission
from productsearch_service.rpc.interceptor import SERVICE, Interceptor
from productsearch_service.rpc.reports import Reports
from productsearch_service.rpc.servicer import Servicer
from productsearch_service.server.certificates import begins_in_days, days_left
from productsearch_service.server.concerns import of_libraries
from productsearch_service.server.drain import drain
from productsearch_service.server.grpc_server import grpc_server
from productsearch_service.server.key_pairs import KeyPairDays
from productsearch_service.server.libraries import audited, build_library
from productsearch_service.server.listen import (
    CannotListen,
    bind_error,
    what_to_do,
    why_not,
)
from productsearch_service.server.memory import trimming
from productsearch_service.server.reflection import add_reflection
from productsearch_service.server.reload import Watch
from productsearch_service.server.tls import server_credentials
from productsearch_service.server.watched_files import certificates, policy
from productsearch_service.settings import Settings
from productsearch_service.traces import Tracer

if TYPE_CHECKING:
    from productsearch_service.observability.traces import Spans

_log = logging.getLogger(__name__)


class Server:
    """The service, listening from the beginning; raises CannotListen with a line for each port.

    To be made and used on a running event loop. ``with_admin``: also the ports beside it, and
    health follows readiness, which fetches tokens ahead. Without, as in tests, health says SERVING
    and the first call fetches the token.
    """

    def __init__(self, settings: Settings, *, with_admin: bool = False) -> None:
        remember_outer_tasks()
        self._settings = settings
        self._with_admin = with_admin
        self._counters = counters = Counters(old_names=settings.old_metric_names)
        self._audit = _audit(settings)
        self._libraries = Libraries(
            {
                name: audited(
                    name,
                    build_library(library, settings.replicas, counters.library(name)),
                    self._audit,
                )
                for name, library in settings.libraries.items()
            },
            settings.default_library,
        )
        self._health = Health(SERVICE.strip("/"))
        self._reachability = Reachability(settings.listen, tls=settings.tls_cert_file is not None)
        self._readiness = Readiness(
            self._libraries.all(), self._reachability, self._health.tell_ready
        )
        self._liveness = Liveness(self._health.tell_loop)
        self._trimming = trimming()
        for concern in of_libraries(settings):
            _log.warning("%s", concern)
        self._policy = policy(settings)
        self._certificates = certificates(settings)
        reloadable = [each for each in (self._policy, self._certificates) if each is not None]
        self._reload = Watch(reloadable, settings.tls_poll_s)
        self._admission = Admission(stream_silence_s=settings.bulk_silence_s)
        self._images = FormEncoder()
        self._spans = _spans(settings)
        self._server = self._grpc_server()
        self._admin: grpc.Server | None = None
        self._metrics: MetricsServer | None = None
        if with_admin:
            ServiceStates(
                self._libraries.all(),
                self._readiness,
                in_flight={
                    "waiting": lambda: (self._admission.receiving.waiting, 0),
                    "receiving": lambda: self._admission.receiving.held,
                    "unary": lambda: self._admission.unary.in_flight,
                    "unread": lambda: self._admission.unread.in_flight,
                    "fit": lambda: self._admission.fit.in_flight,
                    "large": lambda: self._admission.large.in_flight,
                    "stream": lambda: (self._admission.streams.in_flight, 0),
                    "bulk_item": lambda: self._admission.items.held,
                    "bystander": lambda: (self._admission.bystanders.in_flight, 0),
                },
                broken_files={each.what: each.is_broken for each in reloadable},
                certificate_days=partial(self._certificate_days, days_left),
                certificate_begins=partial(self._certificate_days, begins_in_days),
                key_pair_days=KeyPairDays(settings.libraries),
                alike=partial(self._alike, sameness.of_settings(settings)),
                audit=self._audit,
                spans=self._spans.counts if self._spans else None,
            ).register(counters.registry)
        self.port = self.admin_port = self.metrics_port = 0
        """The ports that it really listens on; 0: none."""
        self._open_ports()

    async def start(self) -> None:
        """Begin to serve."""
        await self._health.start()
        for library in self._libraries.all().values():
            library.start()
        await self._server.start()
        self._reload.start()
        if not self._with_admin:
            await self._health.tell_ready(True)
            return
        self._trimming.start()
        self._liveness.start()
        if self._admin is not None:
            self._admin.start()
        if self._metrics is not None:
            self._metrics.start()
        self._reachability.start(self.port)
        await self._readiness.start()

    async def stop(self, hurry: asyncio.Event) -> None:
        """Stop without failing a call; ``hurry`` cuts delay and grace short."""
        await self._reachability.stop()
        await self._readiness.stop()
        await self._health.stop()
        await drain(self._server, self._admission, hurry, self._settings)
        await self._reload.stop()
        await self._liveness.stop()
        await self._trimming.stop()
        await self._libraries.close()
        self._images.close()
        self._counters.batches.carry_out()
        if self._audit is not None:
            await asyncio.to_thread(self._audit.close)
        if self._spans is not None:
            await asyncio.to_thread(self._spans.close)
        if self._admin is not None:
            await asyncio.to_thread(self._admin.stop(0).wait)
        if self._metrics is not None:
            await asyncio.to_thread(self._metrics.stop)
        _log.info("stopped")

    def _alike(self, of_settings: str) -> tuple[str, str, str]:
        policy = self._policy
        of_policy = sameness.of_content(policy.content) if policy else sameness.NONE
        return of_settings, of_policy, self._settings.log_level

    def _certificate_days(self, days: Callable[[bytes, float], float | None]) -> dict[str, float]:
        """Return of the certificates in use, by setting, the days until they begin or end."""
        if self._certificates is None:
            return {}
        pem, now_s = self._certificates.value, time.time()
        found = {
            "tls_cert_file": days(pem.certificate, now_s),
            "tls_client_ca_file": days(pem.client_ca or b"", now_s),
        }
        return {setting: each for setting, each in found.items() if each is not None}

    def _grpc_server(self) -> grpc.aio.Server:
        settings = self._settings
        identification = Identification(
            self._policy,
            certificates=settings.tls_client_ca_file is not None,
            sidecars=settings.sidecars,
        )
        interceptor = Interceptor(
            self._libraries,
            self._admission,
            identification,
            self._policy,
            Reports(self._counters.rpcs, AccessLog(settings.access_log_successes)),
            settings.receive_timeout_s,
            Tracer(settings.traces_share, self._spans.export) if self._spans else None,
        )
        servicer = Servicer(self._libraries, self._images, self._admission)
        return grpc_server(settings, interceptor, servicer, self._health)

    def _open_ports(self) -> None:
        """Open all ports; raise CannotListen with a line for each that cannot be opened."""
        wrong = []

        def port_of(setting: str, opens: Callable[[str], int]) -> int:
            address = getattr(self._settings, setting)
            if not address:
                return 0
            try:
                # gRPC would log a line of its own, in a form of its own.
                if (known := bind_error(address)) is not None:
                    raise known
                return opens(address)
            except (OSError, RuntimeError) as error:
                why = why_not(address, error)
                wrong.append(f"{setting}: {address} {why}; {what_to_do(why)}")
                return 0

        self.port = port_of("listen", self._open_service)
        if self._with_admin:
            self.admin_port = port_of("admin_listen", self._open_admin)
            self.metrics_port = port_of("metrics_listen", self._open_metrics)
        if wrong:
            raise CannotListen("\n".join(wrong))

    def _open_service(self, address: str) -> int:
        if self._certificates is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, server_credentials(self._certificates))

    def _open_admin(self, address: str) -> int:
        self._admin = self._health.admin_server()
        add_reflection(self._health.reflected_by_admin, self._admin, on_loop=False)
        return self._admin.add_insecure_port(address)

    def _open_metrics(self, address: str) -> int:
        registry = self._counters.registry
        self._metrics = MetricsServer(address, registry, self._liveness, self._readiness)
        return self._metrics.server_port


def _spans(settings: Settings) -> Spans | None:
    if not settings.traces_endpoint:
        return None
    from productsearch_service.observability.traces import Spans  # needs the extra

    return Spans.to(settings.traces_endpoint)


def _audit(settings: Settings) -> Audit | None:
    if settings.audit_file is None:
        return None
    try:
        return Audit(settings.audit_file)
    except OSError as error:
        raise CannotListen(f"audit_file: {settings.audit_file}: {error.strerror}") from None
