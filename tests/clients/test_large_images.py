"""An image over 20 MiB is refused before it is sent, by both kinds of client, as the service would.

gRPC's own error of such a message names no field, and ends a whole bulk stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from productsearch import v1
from productsearch.v1 import ErrorReason, aio
from productsearch.v1.refusals import refusal_of
from tests.clients.serving import answer_all, item, serving

_MAX = 20 * 1024 * 1024
_LARGE = v1.image_from_bytes(bytes(24_000_000), fit=True)
_TOLD = "24000000 bytes; at most 20971520 (20 MiB) with fit, about 2.9 MB without: scale it down"
_NEW = v1.NewImage(image=_LARGE)
_REF = v1.ref_by_image(_LARGE)
REQUESTS = {
    "new_image.image.content": ("AddImage", v1.AddImageRequest(new_image=_NEW)),
    "image.content": ("SearchImages", v1.SearchImagesRequest(image=_LARGE)),
    "image_ref.image.content": ("DeleteImage", v1.DeleteImageRequest(image_ref=_REF)),
}
Answer = Callable[..., Any]


def _ended_sync(address: str, method: str, request: Any) -> v1.ProductSearchError:
    with v1.connect(address) as channel, pytest.raises(v1.ProductSearchError) as raised:
        getattr(v1.ProductSearchStub(channel), method)(request)
    return raised.value


def _ended_aio(address: str, method: str, request: Any) -> v1.ProductSearchError:
    async def call() -> v1.ProductSearchError:
        async with aio.connect(address) as channel:
            with pytest.raises(v1.ProductSearchError) as raised:
                await getattr(v1.ProductSearchStub(channel), method)(request)
        return raised.value

    return asyncio.run(call())


@pytest.mark.parametrize("ended", [_ended_sync, _ended_aio], ids=["sync", "asyncio"])
@pytest.mark.parametrize("field", REQUESTS)
def test_it_is_refused_with_its_field(ended: Answer, field: str) -> None:
    """Code, reason and field are the service's; no connection is needed."""
    error = ended("127.0.0.1:1", *REQUESTS[field])
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert ErrorReason.IMAGE_SIZE_INVALID == error.reason
    assert {field: _TOLD} == v1.field_violations_of(error)
    assert f"IMAGE_SIZE_INVALID: {field}: {_TOLD} (INVALID_ARGUMENT)" == str(error)
    assert not v1.is_retryable(error)


def test_the_largest_image_is_sent() -> None:
    """20 MiB are the service's to judge; an address has no size here."""
    largest = v1.image_from_bytes(bytes(_MAX), fit=True)
    assert refusal_of(v1.SearchImagesRequest(image=largest)) is None
    assert refusal_of(v1.SearchImagesRequest(image=v1.image_from_url("https://a.example"))) is None
    assert refusal_of(b"serialised by the caller") is None
    one_more = v1.image_from_bytes(bytes(_MAX + 1), fit=True)
    assert refusal_of(v1.SearchImagesRequest(image=one_more)) is not None


def _bulk_sync(address: str, items: list[Any]) -> tuple[list[Any], Any]:
    with v1.connect(address) as channel:
        stream = v1.bulk_add(v1.ProductSearchStub(channel), items, unanswered_max=2)
        return list(stream), stream.summary


def _bulk_aio(address: str, items: list[Any]) -> tuple[list[Any], Any]:
    async def run() -> tuple[list[Any], Any]:
        async with aio.connect(address) as channel:
            stream = aio.bulk_add(v1.ProductSearchStub(channel), items, unanswered_max=2)
            return [result async for result in stream], stream.summary

    return asyncio.run(run())


@pytest.mark.parametrize("bulk", [_bulk_sync, _bulk_aio], ids=["sync", "asyncio"])
@pytest.mark.parametrize("large", [(0,), (3, 4, 5), (9,), tuple(range(10))], ids=str)
def test_a_bulk_stream_goes_on_without_it(bulk: Answer, large: tuple[int, ...]) -> None:
    """Its item has the error as its result, the others are stored, the summary counts both."""
    items = [
        v1.BulkAddImagesRequest.Item(key=str(number), new_image=_NEW)
        if number in large
        else item(str(number))
        for number in range(10)
    ]
    with serving(answer_all) as address:
        results, summary = bulk(address, items)
    assert {str(number) for number in range(10)} == {result.key for result in results}
    assert len(results) == 10
    failed = {result.key: result.error for result in results if result.HasField("error")}
    assert {str(number) for number in large} == {*failed}
    for status in failed.values():
        assert {"new_image.image.content": _TOLD} == v1.field_violations_of(status)
    assert (10, len(large)) == (summary.received_count, summary.failed_count)
