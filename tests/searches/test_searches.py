"""Identical searches are answered once: shared while under way, cached where that is set."""

from __future__ import annotations

import time

import grpc
import pytest

from productsearch import v1
from tests.conftest import FacadeFactory
from tests.fakes.upstream import FakeUpstream, Fault, error, search_answer
from tests.pictures import jpeg

IMAGE = v1.ImageSource(content=jpeg(1))
SEARCH = v1.SearchImagesRequest(image=IMAGE)
SLOW = Fault(seconds=0.4, body=b'{"log_id": 7, "result": [], "has_more": false}')


def test_identical_concurrent_searches_share_one_call(
    stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """20 equal searches at once and one other: two calls to the upstream."""
    upstream.always("search", SLOW)
    other = v1.SearchImagesRequest(image=IMAGE, page_size=5)
    calls = [stub.SearchImages.future(request) for request in [SEARCH] * 20 + [other]]
    assert {7} == {call.result().log_id for call in calls}
    assert 2 == len(upstream.calls)


def test_a_shared_failure_is_everyones(stub: v1.ProductSearchStub, upstream: FakeUpstream) -> None:
    """What one search fails with, all that shared it fail with; the next one asks again."""
    failing = Fault(seconds=0.4, body=b'{"log_id": 7, "error_code": 216680, "error_msg": "none"}')
    upstream.then("search", failing)
    calls = [stub.SearchImages.future(SEARCH) for _ in range(5)]
    assert {grpc.StatusCode.NOT_FOUND} == {call.code() for call in calls}
    assert 1 == len(upstream.calls)
    assert 1 == len(stub.SearchImages(SEARCH).results)


def test_a_search_that_ran_out_of_time_is_not_shared(
    stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """A twin with a short deadline fails alone; who has more time searches for itself."""
    upstream.then("search", Fault(seconds=0.8, body=b"{}"))
    hurried = stub.SearchImages.future(SEARCH, timeout=0.4)
    while not upstream.calls:
        time.sleep(0.01)
    assert 1 == len(stub.SearchImages(SEARCH).results)
    assert grpc.StatusCode.OK != hurried.code()


def test_nothing_is_cached_unless_it_is_set(
    stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """By default each search is a call."""
    stub.SearchImages(SEARCH)
    stub.SearchImages(SEARCH)
    assert 2 == len(upstream.calls)


@pytest.fixture
def caching(facade: FacadeFactory) -> v1.ProductSearchStub:
    """Return a stub of a facade that caches searches for a minute."""
    return facade({"search_cache_ttl_s": 60})


def test_an_identical_search_is_answered_from_the_cache(
    caching: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """The second equal search costs no call; another page, filter or image does."""
    assert caching.SearchImages(SEARCH) == caching.SearchImages(SEARCH)
    assert 1 == len(upstream.calls)
    for other in (
        v1.SearchImagesRequest(image=IMAGE, skip=1),
        v1.SearchImagesRequest(image=IMAGE, class_filter=v1.ClassFilter(class_id1=1)),
        v1.SearchImagesRequest(image=v1.ImageSource(content=jpeg(2))),
    ):
        caching.SearchImages(other)
    assert 4 == len(upstream.calls)


@pytest.mark.parametrize("write", ["AddImage", "UpdateImage", "DeleteImage", "BatchDeleteImages"])
def test_every_write_empties_the_cache(
    write: str, caching: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """After a write, even one that failed, the next search asks the upstream."""
    ref = v1.ImageRef(cont_sign="1,2")
    request = {
        "AddImage": v1.AddImageRequest(new_image=v1.NewImage(image=IMAGE, brief="b")),
        "UpdateImage": v1.UpdateImageRequest(image_ref=ref, brief="b"),
        "DeleteImage": v1.DeleteImageRequest(image_ref=ref),
        "BatchDeleteImages": v1.BatchDeleteImagesRequest(cont_signs=["1,2"]),
    }[write]
    for searches in (2, 3):
        caching.SearchImages(SEARCH)
        if searches == 3:
            upstream.always({"A": "add", "U": "update"}.get(write[0], "delete"), error(216100))
        try:
            getattr(caching, write)(request)
        except grpc.RpcError as failure:
            assert searches == 3, failure
        caching.SearchImages(SEARCH)
        assert searches == sum(call.method == "search" for call in upstream.calls)


def test_a_search_overtaken_by_a_write_is_not_cached(
    caching: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """A search that began before a write and ended after it is not kept."""
    upstream.then("search", SLOW)
    slow = caching.SearchImages.future(SEARCH)
    while not upstream.calls:
        time.sleep(0.01)
    caching.AddImage(v1.AddImageRequest(new_image=v1.NewImage(image=IMAGE, brief="b")))
    assert 0 == len(slow.result().results)
    upstream.then("search", search_answer(("5,5", 0.5, "new")))
    assert ["new"] == [hit.brief for hit in caching.SearchImages(SEARCH).results]
