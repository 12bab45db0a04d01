"""The floor of a gRPC server in Python: it takes the product's requests and does nothing.

With ``--post URL`` it first posts a ready form to that upstream with raw urllib3, of ``--size``
bytes of picture for an add and 1 KB for a search: what is left of a facade without anything that
it is for. Its interpreter then has the facade's turns and the facade's one core, because what the
facade's threads gain by these is not to be taken for a virtue of its code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import urllib3

from benchmarks import load, pictures
from productsearch import v1
from productsearch_service import limits
from productsearch_service.affinity import OneCore
from productsearch_service.reloading import Watch

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


def _after(first: Callable[[], None], answer: v1.AddImageResponse | v1.SearchImagesResponse) -> Any:
    def handle(_request: Any, _context: grpc.ServicerContext) -> Any:
        first()
        return answer

    return handle


def _main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--post", metavar="URL")
    arguments.add_argument("--size", type=int, default=pictures.SIZES["1 KB"])
    chosen = arguments.parse_args()

    def nothing() -> None:
        pass

    add = search = nothing
    if chosen.post:
        pool = urllib3.connection_from_url(chosen.post, maxsize=limits.CONNECTIONS_MAX)
        add = load.poster(pool, chosen.size)
        search = load.poster(pool, pictures.SIZES["1 KB"], "search")
        sys.setswitchinterval(limits.THREAD_TURN_S)
        Watch([OneCore()], limits.CORE_LOOK_S)
    server = grpc.server(
        ThreadPoolExecutor(limits.RPCS_IN_FLIGHT_MAX),
        options=[("grpc.max_receive_message_length", limits.RECEIVE_BYTES_MAX)],
    )
    handlers = {
        method: grpc.unary_unary_rpc_method_handler(
            _after(first, answer),
            request_deserializer=request.FromString,
            response_serializer=type(answer).SerializeToString,
        )
        for method, request, first, answer in (
            ("AddImage", v1.AddImageRequest, add, _ADDED),
            ("SearchImages", v1.SearchImagesRequest, search, _FOUND),
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
