"""gRPC reflection, v1 and v1alpha: what grpcurl, ghz and their like ask for the schema.

grpc_reflection speaks v1alpha alone. The messages of both versions are the same on the wire, so
its servicer answers both. It is made at the first call: protobuf's descriptor messages, which it
loads, take 4 MB.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, Final

import grpc

SERVICES: Final = (
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)
_METHODS: Final = frozenset(f"/{service}/ServerReflectionInfo" for service in SERVICES)


def add_reflection(services: Iterable[str], server: Any, *, on_loop: bool) -> None:
    """Let ``server`` answer reflection about ``services`` and reflection itself.

    ``server`` takes generic handlers; ``on_loop``: it is one of grpc.aio.
    """
    server.add_generic_rpc_handlers([_Reflection((*services, *SERVICES), on_loop=on_loop)])


class _Reflection(grpc.GenericRpcHandler):
    """Knows the methods of both versions; the servicer is made when one is first called."""

    def __init__(self, services: Iterable[str], *, on_loop: bool) -> None:
        self._services = tuple(services)
        self._on_loop = on_loop
        self._method: grpc.RpcMethodHandler[Any, Any] | None = None
        self._lock = threading.Lock()  # the admin server calls from several threads

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a method of reflection, None for any other."""
        if handler_call_details.method not in _METHODS:
            return None
        with self._lock:
            if self._method is None:
                self._method = _handler(self._services, on_loop=self._on_loop)
            return self._method


def _handler(services: Iterable[str], *, on_loop: bool) -> Any:
    # Here, because they load protobuf's descriptor messages.
    from grpc_reflection.v1alpha import reflection, reflection_pb2

    from productsearch_service.server.descriptors import DescribedPool

    pool: Any = DescribedPool()  # has the methods that the servicer calls
    servicer: Any = (
        reflection.aio.ReflectionServicer(services, pool=pool)
        if on_loop
        else reflection.ReflectionServicer(services, pool=pool)
    )
    return grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
