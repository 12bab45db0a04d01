"""The floor of a gRPC facade in Python: it takes the product's requests and only posts.

``grpc.aio``, uvloop and aiohttp on one event loop, as the facade has them, and none of what a
facade is for. Each call posts a ready form of ``--size`` bytes of image to ``--post URL``. With
``--encode`` it posts the image of its request instead, encoded by the product's encoder.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import uvloop

from benchmarks import forms, images
from benchmarks.plain_aiohttp import Poster
from productsearch import v1
from productsearch_service import limits
from productsearch_service.images import form_encoding

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
_Handler = Callable[[Any, Any], Awaitable[Any]]


def _ready(post: Callable[[], Awaitable[None]], answer: Any) -> _Handler:
    async def handle(_request: Any, _context: Any) -> Any:
        await post()
        return answer

    return handle


def _encoding(poster: Poster, rpc: str, answer: Any) -> _Handler:
    async def handle(request: Any, _context: Any) -> Any:
        image = request.new_image.image if rpc == "add" else request.image
        await poster.post(rpc, forms.around(form_encoding.encode(image.content)))
        return answer

    return handle


async def _serve(poster: Poster, size_bytes: int, *, encodes: bool) -> None:
    handlers = {}
    for method, rpc, request, answer in (
        ("AddImage", "add", v1.AddImageRequest, _ADDED),
        ("SearchImages", "search", v1.SearchImagesRequest, _FOUND),
    ):
        handlers[method] = grpc.unary_unary_rpc_method_handler(
            _encoding(poster, rpc, answer)
            if encodes
            else _ready(poster.ready(rpc, size_bytes), answer),
            request_deserializer=request.FromString,
            response_serializer=type(answer).SerializeToString,
        )
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", limits.RECEIVE_BYTES_MAX)]
    )
    service = "productsearch.v1.ProductSearch"
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


async def _run(chosen: argparse.Namespace) -> None:
    poster = Poster(chosen.post, chosen.bundle)
    try:
        await _serve(poster, chosen.size, encodes=chosen.encode)
    except asyncio.CancelledError:
        await poster.close()


def _main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--post", metavar="URL", required=True)
    arguments.add_argument("--bundle", type=Path, help="certificates to trust")
    arguments.add_argument("--size", type=int, default=images.SIZES["1 KB"])
    arguments.add_argument("--encode", action="store_true")
    uvloop.run(_run(arguments.parse_args()))


if __name__ == "__main__":
    _main()
