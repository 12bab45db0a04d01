"""Makes the gRPC server that callers connect to: its options, and what is registered with it.

Knows gRPC's options and the reason for each. Does not know ports, nor what an RPC does.
"""

from __future__ import annotations

from typing import Any, Final, cast

import grpc
from grpc_health.v1 import health_pb2_grpc

from productsearch import v1
from productsearch_service import limits
from productsearch_service.observability.health import Health
from productsearch_service.rpc.interceptor import Interceptor
from productsearch_service.rpc.servicer import Servicer
from productsearch_service.server.reflection import add_reflection
from productsearch_service.settings import Settings

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", limits.RECEIVE_BYTES_MAX),
    ("grpc.keepalive_time_ms", limits.KEEPALIVE_TIME_MS),
    ("grpc.keepalive_timeout_ms", limits.KEEPALIVE_TIMEOUT_MS),
    # Go and Java clients ping idle connections; without these two they get GOAWAY.
    ("grpc.http2.min_ping_interval_without_data_ms", limits.PING_INTERVAL_MIN_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    # A large window would let the transport buffer messages before anyone asks for them.
    ("grpc.http2.bdp_probe", 0),
    # An image comes in few frames: each one is parsed, and copied, by itself.
    ("grpc.http2.max_frame_size", limits.FRAME_BYTES_MAX),
    # gRPC decompresses a message before anybody is asked: kilobytes would become RECEIVE_BYTES_MAX.
    # Images do not get smaller. 1: the bit of the algorithm "identity".
    ("grpc.compression_enabled_algorithms_bitset", 1),
    # What opens a connection and says nothing, or nothing more, does not keep it.
    ("grpc.server_handshake_timeout_ms", limits.HANDSHAKE_TIMEOUT_MS),
    ("grpc.max_connection_idle_ms", limits.CONNECTION_IDLE_MS),
    # By itself gRPC resets every second call, whoever's it is, where thousands wait for the event
    # loop: their callers are told CANCELLED, which nobody repeats, and nothing here hears of it.
    ("grpc.server.max_pending_requests", limits.PENDING_MAX),
    ("grpc.server.max_pending_requests_hard_limit", limits.PENDING_MAX),
    # Two servers on one port would share its connections, not its calls.
    ("grpc.so_reuseport", 0),
)


def grpc_server(
    settings: Settings, interceptor: Interceptor, servicer: Servicer, health: Health
) -> grpc.aio.Server:
    """Return a server for the running event loop, with the service, health and reflection."""
    options = [
        *_OPTIONS,
        ("grpc.max_allowed_incoming_connections", settings.connections_max),
        ("grpc.max_concurrent_streams", settings.connection_streams_max),
    ]
    if settings.connection_age_max_s:  # without the grace, gRPC would cut calls
        options += [
            ("grpc.max_connection_age_ms", int(settings.connection_age_max_s * 1000)),
            ("grpc.max_connection_age_grace_ms", limits.CONNECTION_AGE_GRACE_MS),
        ]
    server = grpc.aio.server(interceptors=[interceptor], options=options)
    by_name = cast("Any", _ByName(server))
    v1.add_ProductSearchServicer_to_server(cast("v1.ProductSearchServicer", servicer), by_name)
    health_pb2_grpc.add_HealthServicer_to_server(health.on_loop, by_name)
    if settings.reflection:
        add_reflection(health.reflected, server, on_loop=True)
    return server


class _ByName:
    """Registers handlers that are found by name, and no methods.

    For each registered method grpc.aio keeps a task that waits for the next call, and looks at all
    of these tasks with every call: about a tenth of the CPU of a small one.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self.add_generic_rpc_handlers = server.add_generic_rpc_handlers

    def add_registered_method_handlers(self, *_: object) -> None:
        """Do nothing; the generic handlers have the same methods."""
