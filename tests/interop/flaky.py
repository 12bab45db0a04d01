"""A gRPC server that fails on purpose, by the library that it is asked for.

Here a client shows what it does by itself: retries with large requests, default deadlines,
errors that the service does not send yet, streams that end early. ``attempts`` counts calls.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NoReturn

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from productsearch import v1

_RECEIVE_BYTES_MAX: Final = 21 * 1024 * 1024
_UNAVAILABLE_CALLS: Final = 2
_SLOW_S: Final = 3.0
_ENDS_AFTER_ITEMS: Final = 10

_Response = v1.BulkAddImagesResponse


class FlakyServer(v1.ProductSearchServicer):
    """The server; a context manager. ``address`` is where it listens."""

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()
        self.bulk_s: dict[str, float] = {}
        """Seconds from the first to the last message of the last bulk stream, by library."""
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._server = grpc.server(
            ThreadPoolExecutor(16),
            options=[("grpc.max_receive_message_length", _RECEIVE_BYTES_MAX)],
        )
        v1.add_ProductSearchServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> FlakyServer:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._server.stop(0).wait()

    def SearchImages(
        self, request: v1.SearchImagesRequest, context: grpc.ServicerContext
    ) -> v1.SearchImagesResponse:
        """Tell the image's digest, or the deadline."""
        self._fail(request.library, context)
        told = hashlib.sha256(request.image.content).hexdigest()
        if request.library == "tells-the-deadline":
            told = _deadline(context)
        return v1.SearchImagesResponse(results=[v1.SearchResult(cont_sign="1,2", brief=told)])

    def AddImage(
        self, request: v1.AddImageRequest, context: grpc.ServicerContext
    ) -> v1.AddImageResponse:
        """Tell the deadline."""
        self._fail(request.library, context)
        return v1.AddImageResponse(cont_sign=_deadline(context))

    def UpdateImage(
        self, request: v1.UpdateImageRequest, context: grpc.ServicerContext
    ) -> v1.UpdateImageResponse:
        """Succeed in the end."""
        self._fail(request.library, context)
        return v1.UpdateImageResponse()

    def DeleteImage(
        self, request: v1.DeleteImageRequest, context: grpc.ServicerContext
    ) -> v1.DeleteImageResponse:
        """Succeed in the end."""
        self._fail(request.library, context)
        return v1.DeleteImageResponse()

    def BatchDeleteImages(
        self, request: v1.BatchDeleteImagesRequest, context: grpc.ServicerContext
    ) -> v1.BatchDeleteImagesResponse:
        """Tell the deadline."""
        self._fail(request.library, context)
        result = v1.BatchDeleteImagesResponse.Result(cont_sign=_deadline(context))
        return v1.BatchDeleteImagesResponse(results=[result])

    def BulkAddImages(
        self, request_iterator: Iterator[v1.BulkAddImagesRequest], context: grpc.ServicerContext
    ) -> Iterator[_Response]:
        """Answer each item at once, as far as the library lets it come."""
        library = next(request_iterator).settings.library
        began_s = time.monotonic()
        count = 0
        added = v1.AddImageResponse(
            cont_sign="1,2", outcome=v1.AddOutcome.ADD_OUTCOME_CREATED, log_id=1
        )
        for request in request_iterator:
            yield _Response(result=_Response.ItemResult(key=request.item.key, added=added))
            count += 1
            if count == _ENDS_AFTER_ITEMS and library == "ends-early":
                return
            if count == _ENDS_AFTER_ITEMS and library == "breaks-off":
                context.abort(grpc.StatusCode.UNAVAILABLE, "broken off")
        self.bulk_s[library] = time.monotonic() - began_s
        yield _Response(summary=_Response.Summary(received_count=count, added_count=count))

    def _fail(self, library: str, context: grpc.ServicerContext) -> None:
        """End the call if its library says so."""
        with self._lock:
            self.attempts[library] += 1
            attempt = self.attempts[library]
        if library.startswith("unavailable-twice") and attempt <= _UNAVAILABLE_CALLS:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        if library == "slow":
            self._stopped.wait(_SLOW_S)
        if library == "reason-of-tomorrow":
            _abort(context, _of_tomorrow())
        if library == "another-domain":
            info = error_details_pb2.ErrorInfo(
                reason="IMAGE_NOT_FOUND",
                domain="other.example",
                metadata={"logId": "5", "upstreamCode": "5", "contSign": "5,5"},
            )
            _abort(context, _status(code_pb2.INTERNAL, info))
        if library == "garbage-details":
            context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff\xff"),))
            context.abort(grpc.StatusCode.INTERNAL, "garbage")


def _deadline(context: grpc.ServicerContext) -> str:
    """Return how long the caller waits; clients round it up on the wire."""
    remaining_s = context.time_remaining() or 0
    for seconds in (30, 300):
        if seconds - 10 < remaining_s <= seconds + 1:
            return f"about {seconds} s"
    return f"{remaining_s} s"


def _of_tomorrow() -> status_pb2.Status:
    """Return an error with every detail, and with a reason that no client knows yet."""
    violation = error_details_pb2.BadRequest.FieldViolation
    return _status(
        code_pb2.FAILED_PRECONDITION,
        error_details_pb2.DebugInfo(detail="a detail that nobody reads"),
        error_details_pb2.ErrorInfo(
            reason="REASON_OF_TOMORROW",
            domain="productsearch.v1",
            metadata={
                "logId": str(2**64 - 1),
                "upstreamCode": str(2**31 - 1),
                "contSign": "4294967295,0",
                "ofTomorrow": "x",
            },
        ),
        error_details_pb2.RetryInfo(
            retry_delay=duration_pb2.Duration(seconds=86400, nanos=250_000_000)
        ),
        error_details_pb2.BadRequest(
            field_violations=[
                violation(field="image.content", description="第一 🍎"),
                violation(field="*"),
            ]
        ),
    )


def _status(code: int, *details: Message) -> status_pb2.Status:
    packed = [any_pb2.Any() for _ in details]
    for box, detail in zip(packed, details, strict=True):
        box.Pack(detail)
    return status_pb2.Status(code=code, message="on purpose: 故意 🍎", details=packed)


def _abort(context: Any, status: status_pb2.Status) -> NoReturn:
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort_with_status raises")
