"""Puts the parts together and runs them: libraries, gRPC server, health, reflection, stop.

Knows every room and no pictures.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from productsearch import v1
from productsearch_service import limits
from productsearch_service.admission import Admission
from productsearch_service.draining import Drain
from productsearch_service.interceptors import SERVICE, Surroundings
from productsearch_service.libraries import Libraries, Library
from productsearch_service.policy import Policy
from productsearch_service.searches import Searches
from productsearch_service.servicer import Servicer
from productsearch_service.upstream.client import UpstreamClient
from productsearch_service.upstream.credentials import (
    Credentials,
    FileCredentials,
    FixedCredentials,
    KeyPair,
)
from productsearch_service.upstream.exchange import Exchange
from productsearch_service.upstream.issuer import TokenIssuer
from productsearch_service.upstream.pacer import Pacer
from productsearch_service.upstream.rotation import Rotation
from productsearch_service.upstream.sealed import SealedText
from productsearch_service.upstream.token import TokenSource
from productsearch_service.upstream.transport import Transport

if TYPE_CHECKING:
    from productsearch_service.settings import LibrarySettings, Settings

_log = logging.getLogger(__name__)

_SERVICE_NAME: Final = SERVICE.strip("/")
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
    """The running service. ``port`` is the port it really listens on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._libraries = Libraries(
            {
                name: _library(library, settings.replicas)
                for name, library in settings.libraries.items()
            },
            settings.default_library,
        )
        self._drain = Drain()
        self._health = health.HealthServicer()
        policy = Policy.read(settings.policy_file) if settings.policy_file else None
        calls, streams = (
            Admission(
                calls_max=calls_max,
                bytes_max=limits.BYTES_IN_FLIGHT_MAX,
                caller_share=limits.CALLER_SHARE,
            )
            for calls_max in (limits.RPCS_IN_FLIGHT_MAX, limits.BULK_STREAMS_MAX)
        )
        self._server = grpc.server(
            ThreadPoolExecutor(
                limits.RPCS_IN_FLIGHT_MAX + limits.BULK_STREAMS_MAX + limits.REFUSAL_THREADS,
                thread_name_prefix="rpc",
            ),
            interceptors=[Surroundings(self._libraries, self._drain, calls, streams, policy)],
            options=_OPTIONS,
        )
        v1.add_ProductSearchServicer_to_server(Servicer(self._libraries, self._drain), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if settings.reflection:
            names = (_SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        self.port = self._server.add_insecure_port(settings.listen)

    def start(self) -> None:
        """Begin to serve."""
        self._server.start()
        self._say(health_pb2.HealthCheckResponse.SERVING)

    def stop(self, hurry: threading.Event) -> None:
        """Stop without failing a call: say so, go on for the drain delay, then end with grace.

        Whoever balances calls needs the delay to notice; without it each new call in that
        window fails. ``hurry`` cuts delay and grace short.
        """
        self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        _log.info("stopping: not ready any more, serving on for the drain delay")
        hurry.wait(self._settings.drain_delay_s)
        self._drain.begin()
        ended = self._server.stop(0 if hurry.is_set() else self._settings.drain_grace_s)
        while not ended.wait(0.1):
            if hurry.is_set():
                self._server.stop(0)
        self._libraries.close()
        _log.info("stopped")

    def _say(self, status: int) -> None:
        self._health.set("", status)
        self._health.set(_SERVICE_NAME, status)


def _library(settings: LibrarySettings, replicas: int) -> Library:
    transport = Transport(settings.base_url, settings.ca_bundle)
    issuer = TokenIssuer(transport, _credentials(settings))
    tokens = TokenSource(issuer)
    exchange = Exchange(transport, tokens, Pacer(settings.quota_qps / replicas))
    rotation = Rotation(issuer, tokens, settings.credentials_poll_s)
    searches = Searches(
        ttl_s=settings.search_cache_ttl_s, entries_max=settings.search_cache_entries
    )
    return Library(UpstreamClient(exchange), searches, on_close=rotation.close)


def _credentials(settings: LibrarySettings) -> Credentials:
    if settings.credentials_dir is not None:
        return FileCredentials(settings.credentials_dir)
    if settings.api_key is None or settings.secret_key is None:
        raise AssertionError("settings were validated to hold a key pair")
    return FixedCredentials(
        KeyPair(
            SealedText(settings.api_key.get_secret_value()),
            SealedText(settings.secret_key.get_secret_value()),
        )
    )
