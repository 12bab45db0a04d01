"""Images over 6 MiB with ``fit``: taken up to 20 MiB, few at a time; above, our own refusal."""

from __future__ import annotations

from typing import Any

import pytest

from productsearch import v1
from productsearch_service import limits
from productsearch_service.images.pool import Pool
from tests.calls.conftest import WatchedFactory
from tests.calls.watching import Held, Watched, outcome, until
from tests.fakes.upstream import FakeUpstream
from tests.images.workers import stop_workers, worker_processes
from tests.pictures import draw, encode

GOOD = {"log_id": 1, "cont_sign": "1,2"}
MOST = limits.FIT_BYTES_MAX


def image(size_bytes: int, *, fit: bool = True) -> v1.ImageSource:
    """Return a JPEG of this size: what follows the end mark is not decoded."""
    return v1.ImageSource(content=encode(draw(1), quality=80).ljust(size_bytes, b"\0"), fit=fit)


def calls_of(facade: Watched, source: v1.ImageSource) -> dict[str, Any]:
    """Begin a call of each method that takes an image; return the calls."""
    stub, ref = facade.stub, v1.ImageRef(image=source)
    new = v1.NewImage(image=source, brief="b")
    return {
        "new_image.image.content": stub.AddImage.future(v1.AddImageRequest(new_image=new)),
        "image.content": stub.SearchImages.future(v1.SearchImagesRequest(image=source)),
        "image_ref.image.content": stub.UpdateImage.future(
            v1.UpdateImageRequest(image_ref=ref, brief="b")
        ),
    }


def bulk(source: v1.ImageSource) -> v1.BulkAddImagesRequest:
    """Return the message of one bulk item."""
    new = v1.NewImage(image=source, brief="b")
    return v1.BulkAddImagesRequest(item=v1.BulkAddImagesRequest.Item(key="k", new_image=new))


@pytest.mark.parametrize("size_bytes", [10_800_000, MOST])
def test_fit_takes_what_phones_make(
    watched: WatchedFactory, upstream: FakeUpstream, size_bytes: int
) -> None:
    """Files of up to 20 MiB are scaled and sent, by every method and by a bulk stream."""
    for method in ("add", "update"):
        upstream.always(method, GOOD)
    facade = watched()
    source = image(size_bytes)
    for call in calls_of(facade, source).values():
        assert "OK" == outcome(call)
    first, _ = facade.stub.BulkAddImages(iter([bulk(source)]))
    assert v1.AddOutcome.ADD_OUTCOME_CREATED == first.result.added.outcome
    until(lambda: (0, 0) == (facade.in_flight(), facade.in_flight("large")))


def test_none_of_them_is_copied(
    watched: WatchedFactory, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ``fit`` is given is a part of the message that gRPC put together, of every method."""
    for method in ("add", "update"):
        upstream.always(method, GOOD)
    given: list[bytes | memoryview] = []
    fit = Pool.fit

    async def noted(self: Pool, content: bytes | memoryview, caller: str) -> bytes | memoryview:
        given.append(content)
        return await fit(self, content, caller)

    monkeypatch.setattr(Pool, "fit", noted)
    facade = watched()
    source = image(MOST)
    for call in calls_of(facade, source).values():
        assert "OK" == outcome(call)
    assert 2 == len(list(facade.stub.BulkAddImages(iter([bulk(source)]))))
    assert 4 == len(given)
    for content in given:
        assert isinstance(content, memoryview)
        assert source.content == content
        assert isinstance(content.obj, bytes)
        assert MOST < len(content.obj) < MOST + 100


@pytest.mark.parametrize("fit", [True, False])
@pytest.mark.parametrize("size_bytes", [MOST + 1, limits.RECEIVE_BYTES_MAX - 1024])
def test_what_is_larger_is_told_so(
    watched: WatchedFactory, upstream: FakeUpstream, size_bytes: int, fit: bool
) -> None:
    """Above 20 MiB, up to what gRPC receives: IMAGE_SIZE_INVALID with the field and the limit,
    and no advice that would not help.
    """
    facade = watched()
    source = image(size_bytes, fit=fit)
    for field, call in calls_of(facade, source).items():
        assert "IMAGE_SIZE_INVALID" == outcome(call)
        assert call.details().startswith(f"{field}: ")
        assert (str(MOST) if fit else str(limits.IMAGE_ENCODED_BYTES_MAX)) in call.details()
        assert "set fit" not in call.details()
    first, last = facade.stub.BulkAddImages(iter([bulk(source)]))
    assert v1.ErrorReason.IMAGE_SIZE_INVALID == v1.reason_of(first.result.error)
    assert 1 == last.summary.failed_count
    assert [] == upstream.calls
    assert [] == worker_processes()


def test_large_images_are_few_at_a_time(watched: WatchedFactory, upstream: FakeUpstream) -> None:
    """Three of 20 MiB of one caller are under way together, a fourth is told to wait; small images,
    and large ones that are refused for their size, do not notice. The places come back.
    """
    held = Held(GOOD)
    upstream.always("add", held)
    facade = watched()
    most = int(limits.LARGE_BYTES_MAX * (1 - limits.OTHERS_SHARE)) // MOST
    large = v1.AddImageRequest(new_image=v1.NewImage(image=image(MOST), brief="b"))
    calls = [facade.stub.AddImage.future(large) for _ in range(most)]
    until(lambda: held.arrived == most, 60)
    assert most == facade.in_flight("large")
    refused = facade.stub.AddImage.future(large)
    assert "SERVER_OVERLOADED" == outcome(refused)
    assert v1.retry_delay_of(refused)
    unfit = v1.AddImageRequest(new_image=v1.NewImage(image=image(MOST, fit=False), brief="b"))
    assert "IMAGE_SIZE_INVALID" == outcome(facade.stub.AddImage.future(unfit))
    small = v1.SearchImagesRequest(image=image(0, fit=False))
    assert "OK" == outcome(facade.stub.SearchImages.future(small))
    held.release()
    assert {"OK"} == {outcome(call) for call in calls}
    until(lambda: 0 == facade.in_flight("large"))
    assert "OK" == outcome(facade.stub.AddImage.future(large))


def test_a_large_image_whose_caller_leaves_gives_its_place_back(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """Cancelled, or at its deadline, while a decoder that never ends has it."""
    upstream.always("add", GOOD)
    facade = watched()
    large = v1.AddImageRequest(new_image=v1.NewImage(image=image(MOST), brief="b"))
    assert "OK" == outcome(facade.stub.AddImage.future(large))
    stop_workers()
    calls = [facade.stub.AddImage.future(large, timeout=60) for _ in range(2)]
    calls += [facade.stub.AddImage.future(large, timeout=2) for _ in range(2)]
    until(lambda: facade.in_flight("large") >= 2)
    for call in calls[:2]:
        call.cancel()
    until(lambda: 0 == facade.in_flight("large"))
    assert "OK" == outcome(facade.stub.AddImage.future(large))
