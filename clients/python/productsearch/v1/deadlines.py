"""Interceptors that give a unary call without a timeout the one that the service config names.

gRPC's C core reads these timeouts too, but it rounds them down by up to a second and does not send
them to the server. A timeout that is set with the call is exact and reaches the server. Streams
have no default timeout, so they are not intercepted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping


def timeouts_of(service_config: str) -> dict[str, float]:
    """Return seconds by method path ``/service/method``; ``/service/`` is for all others."""
    timeouts: dict[str, float] = {}
    for entry in json.loads(service_config)["methodConfig"]:
        for name in entry["name"]:
            path = f"/{name['service']}/{name.get('method', '')}"
            timeouts[path] = float(entry.get("timeout", "inf").removesuffix("s"))
    return timeouts


def timeout_of(method: str | bytes, timeouts: Mapping[str, float]) -> float | None:
    """Return the seconds that a method's calls have by default; None for no end."""
    # grpc.aio hands its interceptors the path as bytes, which its types do not tell.
    path = method.decode() if isinstance(method, bytes) else method
    service = path[: path.rindex("/") + 1]
    seconds = timeouts.get(path, timeouts.get(service, float("inf")))
    return None if seconds == float("inf") else seconds


@dataclass(frozen=True, kw_only=True)
class CallDetails(grpc.ClientCallDetails):
    """What an interceptor hands on; gRPC has no public class with these fields."""

    method: str
    timeout: float | None
    metadata: tuple[tuple[str, str | bytes], ...] | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None

    @classmethod
    def of(cls, asked: grpc.ClientCallDetails, **changes: Any) -> CallDetails:
        """Return the details of a call with some of them changed."""
        names = ("method", "timeout", "metadata", "credentials", "wait_for_ready", "compression")
        return cls(**({name: getattr(asked, name) for name in names} | changes))


class DefaultDeadlines(grpc.UnaryUnaryClientInterceptor):
    """Sets the default deadline of the calls of a ``grpc.Channel``."""

    def __init__(self, service_config: str) -> None:
        self._timeouts = timeouts_of(service_config)

    def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.ClientCallDetails, Any], Any],
        client_call_details: grpc.ClientCallDetails,
        request: Any,
    ) -> Any:
        """Continue the call, with the default timeout if it has none."""
        asked = client_call_details
        if asked.timeout is None:
            asked = CallDetails.of(asked, timeout=timeout_of(asked.method, self._timeouts))
        return continuation(asked, request)


class AsyncDefaultDeadlines(grpc.aio.UnaryUnaryClientInterceptor):
    """Sets the default deadline of the calls of a ``grpc.aio.Channel``."""

    def __init__(self, service_config: str) -> None:
        self._timeouts = timeouts_of(service_config)

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        """Continue the call, with the default timeout if it has none."""
        asked = client_call_details
        if asked.timeout is None:
            asked = grpc.aio.ClientCallDetails(
                asked.method,
                timeout_of(asked.method, self._timeouts),
                asked.metadata,
                asked.credentials,
                asked.wait_for_ready,
            )
        return await continuation(asked, request)
