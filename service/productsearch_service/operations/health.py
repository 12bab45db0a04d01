"""grpc.health.v1: what this service says under which name, and asking another one."""

from __future__ import annotations

import threading
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from productsearch_service.interceptors import SERVICE

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_READINESS: Final = ("", SERVICE.strip("/"))
_LIVENESS: Final = "liveness"
_ASK_TIMEOUT_S: Final = 3.0


class Health:
    """The health service. "" and the service's name mean readiness, ``liveness`` the process."""

    def __init__(self) -> None:
        self.servicer = health.HealthServicer()
        self._lock = threading.Lock()
        self._stopping = False
        self.tell(False)
        self.servicer.set(_LIVENESS, _SERVING)

    def tell(self, ready: bool) -> None:
        """Say whether this replica should get calls; once it stops, it never should again."""
        with self._lock:
            for name in _READINESS:
                self.servicer.set(name, _SERVING if ready and not self._stopping else _NOT_SERVING)

    def stop(self) -> None:
        """Say that this replica should get no calls any more."""
        with self._lock:
            self._stopping = True
        self.tell(False)


def ask(address: str) -> str:
    """Return what the service at ``address`` says of its readiness, or ``UNREACHABLE``."""
    with grpc.insecure_channel(address) as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)  # its types lack the methods
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=_ASK_TIMEOUT_S)
        except grpc.RpcError:
            return "UNREACHABLE"
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
