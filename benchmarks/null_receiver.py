"""The floor of a gRPC server in Python that receives large messages beside small calls.

``grpc.aio`` and uvloop as the facade has them, and nothing else: messages are read and thrown away,
each call is answered with a constant.
"""

from __future__ import annotations

from typing import Any

import grpc
import uvloop
from grpc_health.v1 import health_pb2

from productsearch import v1
from productsearch_service import limits

_ANSWERS = {
    "/productsearch.v1.ProductSearch/AddImage": v1.AddImageResponse(),
    "/productsearch.v1.ProductSearch/SearchImages": v1.SearchImagesResponse(),
    "/grpc.health.v1.Health/Check": health_pb2.HealthCheckResponse(status="SERVING"),
}
_BULK = "/productsearch.v1.ProductSearch/BulkAddImages"
_BULK_ANSWER = v1.BulkAddImagesResponse().SerializeToString()


class _Handlers(grpc.GenericRpcHandler):
    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a method, or None."""
        if details.method == _BULK:
            return grpc.stream_stream_rpc_method_handler(_read_all)
        if details.method in _ANSWERS:
            answer = _ANSWERS[details.method].SerializeToString()

            async def read(_requests: Any, context: Any) -> bytes:
                await context.read()
                return answer

            return grpc.stream_unary_rpc_method_handler(read)
        return None


async def _read_all(_requests: Any, context: Any) -> Any:
    while await context.read() is not grpc.aio.EOF:
        yield _BULK_ANSWER


async def _serve() -> None:
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", limits.RECEIVE_BYTES_MAX),
            ("grpc.http2.bdp_probe", 0),
            ("grpc.http2.max_frame_size", limits.FRAME_BYTES_MAX),
        ]
    )
    server.add_generic_rpc_handlers([_Handlers()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(_serve())
