"""The floor of a gRPC server in Python: it takes the product's requests and does nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

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


def _nothing(answer: v1.AddImageResponse | v1.SearchImagesResponse) -> Any:
    return lambda _request, _context: answer


def _main() -> None:
    server = grpc.server(
        ThreadPoolExecutor(limits.RPCS_IN_FLIGHT_MAX),
        options=[("grpc.max_receive_message_length", limits.RECEIVE_BYTES_MAX)],
    )
    handlers = {
        method: grpc.unary_unary_rpc_method_handler(
            _nothing(answer),
            request_deserializer=request.FromString,
            response_serializer=type(answer).SerializeToString,
        )
        for method, request, answer in (
            ("AddImage", v1.AddImageRequest, _ADDED),
            ("SearchImages", v1.SearchImagesRequest, _FOUND),
        )
    }
    service = "productsearch.v1.ProductSearch"
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    _main()
