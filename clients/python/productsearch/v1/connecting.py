"""Opens a channel with the options that this service needs; knows no RPC.

gRPC's defaults are no deadline, a retry buffer of 256 KiB, which is smaller than an image, and
minutes until a dead connection is noticed.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

import grpc

from productsearch.v1.deadlines import DefaultDeadlines
from productsearch.v1.tls import channel_credentials
from productsearch.v1.tokens import TokenInterceptor, checked
from productsearch.v1.told_errors import Errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from productsearch.v1.tls import TlsConfig
    from productsearch.v1.tokens import Token

_OTHER_SCHEMES: Final = ("http://", "https://", "grpc://", "grpcs://", "tcp://")
"""Of addresses that are no gRPC target. gRPC's own, such as dns:/// and unix:, are left to it."""
_SERVICE_CONFIG: Final = "product_search_grpc_service_config.json"

# The largest request with one image: a retry needs all of it in the buffer.
_RETRY_BUFFER_BYTES: Final = 4 * 1024 * 1024
# The answer to the longest batch delete, with an error for each signature, can pass gRPC's 4 MiB.
_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
# The service allows a ping every 10 s (reliability: "keepalive").
KEEPALIVE_S: Final = 30.0
_KEEPALIVE_MIN_S: Final = 10.0
_KEEPALIVE_TIMEOUT_MS: Final = 10_000


def connect(
    target: str,
    *,
    token: Token | None = None,
    tls: bool | TlsConfig | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    keepalive_s: float = KEEPALIVE_S,
    keepalive_without_calls: bool = False,
    options: Sequence[tuple[str, str | int]] = (),
) -> grpc.Channel:
    """Return a channel to the service at ``target``, such as ``127.0.0.1:50051``.

    Raises ValueError, TypeError for arguments that are wrong, such as a target with http://.

    Unary calls end after the service config's timeout (30 s, batch deletes 300 s) or after their
    own if that is shorter. Searches, updates and deletes are retried on UNAVAILABLE, adds never.
    ``token`` goes with each call as a bearer token; a function is asked for it before each call
    and must be quick. ``tls`` is True for TLS with the authorities that gRPC knows, or a TlsConfig.
    None means TLS if there is a token, else plaintext, for loopback and for a mesh's sidecar; False
    is plaintext with a token too. ``credentials`` are gRPC's own, in place of ``tls``. Failed unary
    calls raise ProductSearchError, a grpc.RpcError whose text says what is known. A connection
    is pinged every ``keepalive_s`` seconds, 10 or more, while calls are under way. With
    ``keepalive_without_calls`` it is always pinged, which keeps idle connections open through load
    balancers that close silent ones. ``options`` are further channel arguments; they win over the
    ones set here. The channel connects on first use and can be shared by all threads.
    """
    check_target(target)
    arguments = channel_arguments(keepalive_s, keepalive_without_calls, options)
    secure = channel_credentials(tls, credentials, has_token=token is not None)
    tokens = [TokenInterceptor(checked(token))] if token is not None else []
    if secure is None:
        channel = grpc.insecure_channel(target, options=arguments)
    else:
        channel = grpc.secure_channel(target, secure, options=arguments)
    deadlines = DefaultDeadlines(service_config())
    return grpc.intercept_channel(channel, Errors(target), deadlines, *tokens)


def check_target(target: str) -> None:
    """Raise ValueError for a target that begins like an address of the web."""
    scheme = next((one for one in _OTHER_SCHEMES if target.lower().startswith(one)), None)
    if scheme is not None:
        raise ValueError(f"the target is {target!r}; use host:port, without {scheme}")


def service_config() -> str:
    """Return the service config, JSON."""
    return files(__package__).joinpath(_SERVICE_CONFIG).read_text("utf-8")


def channel_arguments(
    keepalive_s: float,
    keepalive_without_calls: bool,
    options: Sequence[tuple[str, str | int]],
) -> list[tuple[str, str | int]]:
    """Return the arguments of a channel to this service; ``options`` win over them.

    Raises ValueError for a keepalive so short that the service would close the connection.
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
    # gRPC takes the first of an argument that is given twice, so each is given once.
    return [*(arguments | dict(options)).items()]
