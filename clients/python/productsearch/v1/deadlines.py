"""Gives unary calls without a timeout the one that the service config names.

gRPC's C core reads these timeouts, but rounds them down by up to a second and keeps them to
itself: the server never hears of them. Setting them with the call does both. gRPC's own
interceptors could do it too, for 35 us on each call.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import grpc
    import grpc.aio


def timeouts_of(service_config: str) -> dict[str, float]:
    """Return seconds by method path ``/service/method``; ``/service/`` is for all others."""
    timeouts: dict[str, float] = {}
    for entry in json.loads(service_config)["methodConfig"]:
        for name in entry["name"]:
            path = f"/{name['service']}/{name.get('method', '')}"
            timeouts[path] = float(entry.get("timeout", "inf").removesuffix("s"))
    return timeouts


def timeout_of(method: str, timeouts: Mapping[str, float]) -> float | None:
    """Return the seconds that a method's calls have by default; None for no end."""
    service = method[: method.rindex("/") + 1]
    seconds = timeouts.get(method, timeouts.get(service, float("inf")))
    return None if seconds == float("inf") else seconds


def set_timeouts(channel: grpc.Channel | grpc.aio.Channel, service_config: str) -> None:
    """Let the unary calls of a new channel have the timeouts of ``service_config``."""
    timeouts, unary_unary = timeouts_of(service_config), channel.unary_unary

    def punctual(method: str, *rest: Any, **named: Any) -> _PunctualCalls:
        return _PunctualCalls(unary_unary(method, *rest, **named), timeout_of(method, timeouts))

    # Its class is gRPC's secret, and a channel around it would have to repeat it all, twice.
    setattr(channel, "unary_unary", punctual)  # noqa: B010 - mypy forbids the plain assignment


class _PunctualCalls:
    """The calls of one method, sync or asyncio."""

    def __init__(self, calls: Any, timeout_s: float | None) -> None:
        self._calls = calls
        self._timeout_s = timeout_s

    def __call__(self, request: Any, timeout: float | None = None, **named: Any) -> Any:
        return self._calls(request, timeout=self._timeout(timeout), **named)

    def with_call(self, request: Any, timeout: float | None = None, **named: Any) -> Any:
        """Call and return response and call."""
        return self._calls.with_call(request, timeout=self._timeout(timeout), **named)

    def future(self, request: Any, timeout: float | None = None, **named: Any) -> Any:
        """Call without waiting."""
        return self._calls.future(request, timeout=self._timeout(timeout), **named)

    def _timeout(self, asked_s: float | None) -> float | None:
        return self._timeout_s if asked_s is None else asked_s
