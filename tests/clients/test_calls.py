"""What connect() and search_all() do, sync and asyncio, seen from a server."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from productsearch import v1
from productsearch.v1 import ErrorReason, aio
from tests.clients.serving import SearchHandler, drain, serving

Search = Callable[..., Any]


def search_sync(search: SearchHandler, *, timeout: float | None = None, **keywords: Any) -> Any:
    """Make one search with the sync client."""
    with serving(search=search) as address, v1.connect(address, **keywords) as channel:
        stub = v1.ProductSearchStub(channel)
        return stub.SearchImages(v1.SearchImagesRequest(), timeout=timeout)


def search_aio(search: SearchHandler, *, timeout: float | None = None, **keywords: Any) -> Any:
    """Make one search with the asyncio client."""

    async def call(address: str) -> Any:
        async with aio.connect(address, **keywords) as channel:
            stub = v1.ProductSearchStub(channel)
            return await stub.SearchImages(v1.SearchImagesRequest(), timeout=timeout)

    with serving(search=search) as address:
        return asyncio.run(call(address))


@pytest.fixture(params=[search_sync, search_aio], ids=["sync", "asyncio"])
def search(request: pytest.FixtureRequest) -> Search:
    """Return a function that makes one search at a server with this handler."""
    made: Search = request.param
    return made


def _deadline(seconds: list[float]) -> SearchHandler:
    def handle(_: v1.SearchImagesRequest, context: grpc.ServicerContext) -> Any:
        remaining_s = context.time_remaining()
        seconds.append(-1 if remaining_s is None else remaining_s)
        return v1.SearchImagesResponse()

    return handle


def test_the_server_hears_of_the_default_deadline(search: Search) -> None:
    """A call without a timeout ends after 30 s, and the server knows; one with, after that."""
    seconds: list[float] = []
    search(_deadline(seconds))
    search(_deadline(seconds), timeout=7)
    assert 20 < seconds[0] <= 31  # the wire rounds up
    assert 1 < seconds[1] <= 8


def test_the_callers_channel_arguments_win(search: Search) -> None:
    """An argument that connect() sets too is the caller's: here a config without retries."""
    attempts = itertools.count(1)

    def handle(_: v1.SearchImagesRequest, context: grpc.ServicerContext) -> Any:
        next(attempts)
        context.abort(grpc.StatusCode.UNAVAILABLE, "not now")

    options = (("grpc.service_config", json.dumps({"methodConfig": []})),)
    with pytest.raises(grpc.RpcError):
        search(handle, options=options)
    assert 2 == next(attempts)
    with pytest.raises(grpc.RpcError):
        search(handle)
    assert 6 == next(attempts)


def test_answers_larger_than_an_image_arrive(search: Search) -> None:
    """8 MB come through: a large batch with an error for each signature is as long."""
    token = "t" * 8_000_000
    answer = v1.SearchImagesResponse(next_page_token=token)
    assert token == search(lambda *_: answer).next_page_token


@pytest.mark.parametrize("module", [v1, aio], ids=["sync", "asyncio"])
def test_pings_that_the_service_does_not_allow_are_refused(module: Any) -> None:
    """A keepalive below 10 s would be answered with GOAWAY: a ValueError says so at once."""
    with pytest.raises(ValueError, match="keepalive_s is 5; use 10 or more"):
        module.connect("127.0.0.1:1", keepalive_s=5)


def test_errors_of_both_kinds_are_read_alike(search: Search) -> None:
    """The readers understand the sync error and the asyncio one."""
    with pytest.raises(grpc.RpcError) as caught:
        search(lambda _, context: drain(context))
    assert ErrorReason.SERVER_DRAINING == v1.reason_of(caught.value)
    assert 1.0 == v1.retry_delay_of(caught.value)


def test_with_call_and_future_have_the_deadline_too() -> None:
    """The other ways to make a sync call are no way around it."""
    seconds: list[float] = []
    with serving(search=_deadline(seconds)) as address, v1.connect(address) as channel:
        stub = v1.ProductSearchStub(channel)
        stub.SearchImages.with_call(v1.SearchImagesRequest())
        stub.SearchImages.future(v1.SearchImagesRequest()).result()
    assert all(20 < each <= 31 for each in seconds)
    assert 2 == len(seconds)


class Pages:
    """A handler with three pages of two results; it notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, float]] = []

    def __call__(self, request: v1.SearchImagesRequest, _: grpc.ServicerContext) -> Any:
        self.asked.append((request.page_token, request.skip, request.min_score))
        page = int(request.page_token or 0)
        hits = [v1.SearchResult(cont_sign=f"{page},{number}") for number in range(2)]
        return v1.SearchImagesResponse(results=hits, next_page_token=("1", "2", "")[page])


REQUEST = v1.SearchImagesRequest(skip=5, min_score=0.5)
SIGNS = ["0,0", "0,1", "1,0", "1,1", "2,0", "2,1"]
ASKED = [("", 5, 0.5), ("1", 0, 0.5), ("2", 0, 0.5)]


def test_search_all_walks_through_the_pages() -> None:
    """All results in order; ``skip`` counts once, the rest goes with each page."""
    pages, request = Pages(), v1.SearchImagesRequest()
    request.CopyFrom(REQUEST)
    with serving(search=pages) as address, v1.connect(address) as channel:
        stub = v1.ProductSearchStub(channel)
        assert SIGNS == [result.cont_sign for result in v1.search_all(stub, request)]
        assert (ASKED, REQUEST) == (pages.asked, request)
        first_two = itertools.islice(v1.search_all(stub, request), 2)
        assert SIGNS[:2] == [result.cont_sign for result in first_two]
    assert 4 == len(pages.asked), "a page nobody wants is not asked for"


def test_search_all_with_asyncio() -> None:
    """The same with asyncio."""
    pages = Pages()

    async def signs(address: str) -> list[str]:
        async with aio.connect(address) as channel:
            found = aio.search_all(v1.ProductSearchStub(channel), REQUEST)
            return [result.cont_sign async for result in found]

    with serving(search=pages) as address:
        assert SIGNS == asyncio.run(signs(address))
    assert ASKED == pages.asked


def test_search_all_raises_what_a_page_fails_with() -> None:
    """A page that fails ends the walk with the call's own error, after what came before."""

    def second_fails(request: v1.SearchImagesRequest, context: grpc.ServicerContext) -> Any:
        if request.page_token:
            context.abort(grpc.StatusCode.OUT_OF_RANGE, "no further")
        return v1.SearchImagesResponse(
            results=[v1.SearchResult(cont_sign="0,0")], next_page_token="1"
        )

    with serving(search=second_fails) as address, v1.connect(address) as channel:
        found = v1.search_all(v1.ProductSearchStub(channel), REQUEST)
        assert "0,0" == next(found).cont_sign
        with pytest.raises(grpc.RpcError, match="no further"):
            next(found)
