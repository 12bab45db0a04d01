"""Opens a channel with the options that this service wants; knows no RPC.

The defaults of gRPC lose calls here: no deadline at all, a retry buffer of 256 KiB that a
picture overflows, and dead connections that are noticed after minutes.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

import grpc

from productsearch.v1.deadlines import DefaultDeadlines

if TYPE_CHECKING:
    from collections.abc import Sequence

_SERVICE_CONFIG: Final = "product_search_grpc_service_config.json"

# A request with one picture: a retry needs the whole of it in the buffer.
_RETRY_BUFFER_BYTES: Final = 4 * 1024 * 1024
# A batch delete of 15,000 signatures that are all unknown is answered with more than gRPC's 4 MiB.
_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
# The service allows a ping every 10 s (reliability: "keepalive").
KEEPALIVE_S: Final = 30.0
_KEEPALIVE_MIN_S: Final = 10.0
_KEEPALIVE_TIMEOUT_MS: Final = 10_000


def connect(
    target: str,
    *,
    credentials: grpc.ChannelCredentials | None = None,
    keepalive_s: float = KEEPALIVE_S,
    keepalive_without_calls: bool = False,
    options: Sequence[tuple[str, str | int]] = (),
) -> grpc.Channel:
    """Return a channel to the service at ``target``, such as ``127.0.0.1:50051``.

    Calls without a timeout of their own end after the service config's (30 s for unary
    calls); searches, updates and deletes are tried again on UNAVAILABLE, adds never.
    ``credentials`` of None means plaintext, for loopback and for a mesh's sidecar. A connection
    is pinged every ``keepalive_s`` seconds, 10 or more, while calls are under way, and with
    ``keepalive_without_calls`` always, which keeps idle ones open through what forgets them.
    ``options`` are further channel arguments; they win over the ones set here. The channel
    connects on first use and can be shared by all threads.
    """
    arguments = channel_arguments(keepalive_s, keepalive_without_calls, options)
    if credentials is None:
        channel = grpc.insecure_channel(target, options=arguments)
    else:
        channel = grpc.secure_channel(target, credentials, options=arguments)
    return grpc.intercept_channel(channel, DefaultDeadlines(service_config()))


def service_config() -> str:
    """Return the service config, JSON."""
    return files(__package__).joinpath(_SERVICE_CONFIG).read_text("utf-8")


def channel_arguments(
    keepalive_s: float,
    keepalive_without_calls: bool,
    options: Sequence[tuple[str, str | int]],
) -> list[tuple[str, str | int]]:
    """Return the arguments that a channel to this service wants, then ``options``.

    Raises ValueError for pings that the service would answer by hanging up.
    """
    if not keepalive_s >= _KEEPALIVE_MIN_S:
        raise ValueError(f"keepalive_s is {keepalive_s}; use {_KEEPALIVE_MIN_S:g} or more")
    arguments: dict[str, str | int] = {
        "grpc.service_config": service_config(),
        "grpc.per_rpc_retry_buffer_size": _RETRY_BUFFER_BYTES,
        "grpc.max_receive_message_length": _ANSWER_BYTES_MAX,
        "grpc.keepalive_time_ms": round(keepalive_s * 1000),
        "grpc.keepalive_timeout_ms": _KEEPALIVE_TIMEOUT_MS,
    }
    if keepalive_without_calls:
        arguments |= {"grpc.keepalive_permit_without_calls": 1}
        arguments |= {"grpc.http2.max_pings_without_data": 0}
    # Of an argument that stands twice, gRPC takes the first.
    return [*(arguments | dict(options)).items()]
