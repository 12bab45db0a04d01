"""A real gRPC server whose BulkAddImages and SearchImages do what a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from productsearch import v1

Request = v1.BulkAddImagesRequest
Response = v1.BulkAddImagesResponse
BulkHandler = Callable[[Iterator[Request], grpc.ServicerContext], Iterator[Response]]
SearchHandler = Callable[[v1.SearchImagesRequest, grpc.ServicerContext], v1.SearchImagesResponse]

_WORKERS: Final = 8


class _Servicer(v1.ProductSearchServicer):
    def __init__(self, bulk: BulkHandler | None, search: SearchHandler | None) -> None:
        if bulk is not None:
            self.BulkAddImages = bulk  # type: ignore[method-assign]
        if search is not None:
            self.SearchImages = search  # type: ignore[method-assign]


@contextmanager
def serving(
    bulk: BulkHandler | None = None,
    search: SearchHandler | None = None,
    credentials: grpc.ServerCredentials | None = None,
) -> Iterator[str]:
    """Serve on loopback and yield the address."""
    server = grpc.server(ThreadPoolExecutor(_WORKERS))
    v1.add_ProductSearchServicer_to_server(_Servicer(bulk, search), server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def item(key: str) -> Request.Item:
    """Return an item; the server here does not decode its image."""
    image = v1.NewImage(image=v1.ImageSource(content=b"image"), brief=key)
    return Request.Item(key=key, new_image=image)


def added(key: str) -> Response:
    """Return the result of an item that was stored."""
    outcome = v1.AddImageResponse(cont_sign="1,2", outcome=v1.AddOutcome.ADD_OUTCOME_CREATED)
    return Response(result=Response.ItemResult(key=key, added=outcome))


def summary(count: int) -> Response:
    """Return the last message of a stream."""
    return Response(summary=Response.Summary(received_count=count, added_count=count))


def answer_all(requests: Iterator[Request], _: grpc.ServicerContext) -> Iterator[Response]:
    """Answer each item at once, then sum up."""
    count = 0
    for request in requests:
        if request.HasField("item"):
            count += 1
            yield added(request.item.key)
    yield summary(count)


def drain(context: Any) -> None:
    """End a call as a replica does that is about to stop."""
    info = error_details_pb2.ErrorInfo(reason="SERVER_DRAINING", domain="productsearch.v1")
    wait = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=1))
    details = []
    for detail in (info, wait):
        details.append(any_pb2.Any())
        details[-1].Pack(detail)
    status = status_pb2.Status(code=code_pb2.UNAVAILABLE, message="stopping", details=details)
    context.abort_with_status(rpc_status.to_status(status))
