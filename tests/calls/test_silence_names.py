"""What a stranger asks health for is not kept."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from productsearch_service import limits
from tests.calls.conftest import WatchedFactory


@pytest.mark.usefixtures("upstream")
@pytest.mark.parametrize("method", ["Check", "Watch"])
def test_a_long_name_is_refused(method: str, watched: WatchedFactory) -> None:
    """A name of 1 MB is INVALID_ARGUMENT at once; the names that there are still answer."""
    facade = watched()
    with grpc.insecure_channel(f"127.0.0.1:{facade.server.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        long = health_pb2.HealthCheckRequest(service="x" * 1_000_000)
        asks = {
            "Check": lambda: stub.Check(long, timeout=10),
            "Watch": lambda: next(stub.Watch(long, timeout=10)),
        }
        with pytest.raises(grpc.RpcError) as refused:
            asks[method]()
        assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()
        short = health_pb2.HealthCheckRequest(service="x" * (limits.BYSTANDER_BYTES_MAX - 8))
        with pytest.raises(grpc.RpcError) as unknown:
            stub.Check(short, timeout=10)
        assert grpc.StatusCode.NOT_FOUND == unknown.value.code()
        known = stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert health_pb2.HealthCheckResponse.SERVING == known.status
