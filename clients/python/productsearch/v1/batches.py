"""Deletes any number of stored images with calls of the size that the service takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc

from productsearch.v1.errors import as_status
from productsearch.v1.product_search_pb2 import (
    BatchDeleteImagesRequest,
    BatchDeleteImagesResponse,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from productsearch.v1.product_search_pb2_grpc import ProductSearchStub

SIGNS_MAX: Final = 10_000
"""Signatures in one BatchDeleteImages."""


def batch_delete(
    stub: ProductSearchStub,
    request: BatchDeleteImagesRequest,
    *,
    timeout: float | None = None,
    metadata: Sequence[tuple[str, str | bytes]] | None = None,
) -> BatchDeleteImagesResponse:
    """Delete the images of any number of signatures and return a result for each, in their order.

    Makes a call for each 10,000; ``timeout`` in seconds is for each call. Raises grpc.RpcError
    only if the first call fails. If a later one fails, this stops, and that error stands in the
    result of each signature that was not dealt with. In the error of a malformed signature the
    index in ``cont_signs[i]`` counts within its call.
    """
    sent = tuple(metadata) if metadata is not None else None
    whole = BatchDeleteImagesResponse()
    for part in parts_of(request):
        try:
            response = stub.BatchDeleteImages(part, timeout=timeout, metadata=sent)
        except grpc.RpcError as error:
            if not whole.results:
                raise
            add_failed(whole, request, error)
            break
        add_results(whole, response)
    return whole


def parts_of(request: BatchDeleteImagesRequest) -> Iterator[BatchDeleteImagesRequest]:
    """Yield the requests of the calls; one at least."""
    signs = request.cont_signs
    for start in range(0, max(1, len(signs)), SIGNS_MAX):
        yield BatchDeleteImagesRequest(
            library=request.library,
            cont_signs=signs[start : start + SIGNS_MAX],
            allow_missing=request.allow_missing,
        )


def add_results(whole: BatchDeleteImagesResponse, response: BatchDeleteImagesResponse) -> None:
    """Add the results of one call."""
    whole.results.MergeFrom(response.results)
    whole.failed_count += response.failed_count


def add_failed(
    whole: BatchDeleteImagesResponse, request: BatchDeleteImagesRequest, error: grpc.RpcError
) -> None:
    """Add a result with the error for each signature that has none."""
    status = as_status(error)
    for sign in request.cont_signs[len(whole.results) :]:
        whole.results.add(cont_sign=sign, error=status)
        whole.failed_count += 1
