"""The floor of a gRPC server in Python: it takes the product's requests and does nothing.

With ``--wait-ms`` it does nothing for that long, as a facade does while its upstream works.
"""

from __future__ import annotations

import argparse
import time
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


def _nothing(answer: v1.AddImageResponse | v1.SearchImagesResponse, wait_s: float) -> Any:
    def handle(_request: Any, _context: grpc.ServicerContext) -> Any:
        if wait_s:
            time.sleep(wait_s)
        return answer

    return handle


def _main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--wait-ms", type=float, default=0.0)
    wait_s = arguments.parse_args().wait_ms / 1000
    server = grpc.server(
        ThreadPoolExecutor(limits.RPCS_IN_FLIGHT_MAX),
        options=[("grpc.max_receive_message_length", limits.RECEIVE_BYTES_MAX)],
    )
    handlers = {
        method: grpc.unary_unary_rpc_method_handler(
            _nothing(answer, wait_s),
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
