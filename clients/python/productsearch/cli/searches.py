"""Makes a search and collects its hits over as many pages as are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from productsearch.cli.calls import patiently
from productsearch.v1 import (
    ClassFilter,
    ProductSearchStub,
    SearchImagesRequest,
    image_from_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import grpc

    from productsearch.cli.profile import Profile
    from productsearch.v1 import ImageSource, SearchResult


def find_hits(
    channel: grpc.Channel,
    profile: Profile,
    source: ImageSource,
    name: str,
    asked: Mapping[str, Any],
) -> list[SearchResult]:
    """Return the best hits, ``asked["top"]`` at most. Raises Failure."""
    request = SearchImagesRequest(
        library=profile.library,
        image=source,
        page_size=asked["top"],
        min_score=asked["min_score"],
    )
    if asked["class_id1"] is not None or asked["class_id2"] is not None:
        either = asked["either_class"]
        request.class_filter.CopyFrom(
            ClassFilter(
                class_id1=asked["class_id1"],
                class_id2=asked["class_id2"],
                operator=ClassFilter.OPERATOR_OR if either else ClassFilter.OPERATOR_AND,
            )
        )
    stub = ProductSearchStub(channel)
    hits: list[SearchResult] = []
    while True:
        answer = patiently(stub.SearchImages, request, asked["timeout"], name)
        hits += answer.results
        if len(hits) >= asked["top"] or not answer.next_page_token:
            return hits[: asked["top"]]
        request.page_token = answer.next_page_token


def best_hit(
    stub: ProductSearchStub, library: str, content: bytes, timeout_s: float
) -> SearchResult | None:
    """Return the first hit of a search with the bytes of an image. Raises Failure."""
    request = SearchImagesRequest(
        library=library, image=image_from_bytes(content, fit=True), page_size=1
    )
    answer = patiently(stub.SearchImages, request, timeout_s, "verify")
    return answer.results[0] if answer.results else None
