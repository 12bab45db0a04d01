"""The floor of a gRPC server in Python: it takes the product's requests and does nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc

from productsearch import v1
from productsearch_service import limits

_ADDED = v1.AddImageResponse(
    cont_sign="123456789,987654321",
    outcome=v1.AddOutcome.ADD_OUTCOME_CREATED,
    log_id=1234567890123456789,
)
_FOUND = v1.SearchImagesResponse(
    results=[
        v1.SearchResult(cont_sign=f"{n},{n}", score=1 - n / 10, brief=f'{{"id":{n}}}')
        for n in range(1, 6)
    ],
    log_id=1234567890123456789,
)


class Servicer(v1.ProductSearchServicer):
    """Answers each request with the same message."""

    def AddImage(  # noqa: N802
        self, request: v1.AddImageRequest, context: grpc.ServicerContext
    ) -> v1.AddImageResponse:
        """Store nothing."""
        return _ADDED

    def SearchImages(  # noqa: N802
        self, request: v1.SearchImagesRequest, context: grpc.ServicerContext
    ) -> v1.SearchImagesResponse:
        """Search nothing."""
        return _FOUND


def _main() -> None:
    server = grpc.server(
        ThreadPoolExecutor(limits.RPCS_IN_FLIGHT_MAX),
        options=[("grpc.max_receive_message_length", limits.RECEIVE_BYTES_MAX)],
    )
    v1.add_ProductSearchServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    _main()
