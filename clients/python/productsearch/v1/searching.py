"""Walks through all pages of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from productsearch.v1.product_search_pb2 import SearchImagesRequest, SearchImagesResponse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from productsearch.v1.product_search_pb2 import SearchResult
    from productsearch.v1.product_search_pb2_grpc import ProductSearchStub


def search_all(
    stub: ProductSearchStub,
    request: SearchImagesRequest,
    *,
    timeout: float | None = None,
    metadata: Sequence[tuple[str, str | bytes]] | None = None,
) -> Iterator[SearchResult]:
    """Yield the results of all pages from ``request`` on; at most 1000 can be reached.

    A page is requested when its first result is read. ``timeout`` in seconds is for each page.
    ``request`` is not changed. Raises grpc.RpcError.
    """
    page = SearchImagesRequest()
    page.CopyFrom(request)
    sent = tuple(metadata) if metadata is not None else None
    while True:
        response = stub.SearchImages(page, timeout=timeout, metadata=sent)
        yield from response.results
        if not turn(page, response):
            return


def turn(page: SearchImagesRequest, response: SearchImagesResponse) -> bool:
    """Make ``page`` the request for the page after ``response``; return whether there is one."""
    page.page_token = response.next_page_token
    page.skip = 0  # it counts from the token, and the first page has applied it
    return bool(response.next_page_token)
