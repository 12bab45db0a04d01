"""Large pictures are made ready one at a time, and nothing else waits for that."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from productsearch.v1 import (
    AddImageRequest,
    BatchDeleteImagesRequest,
    DeleteImageRequest,
    ImageRef,
    ImageSource,
    NewImage,
    ProductSearchStub,
    SearchImagesRequest,
    UpdateImageRequest,
)
from productsearch_service import images, limits, preparing
from productsearch_service.upstream import form
from tests import pictures
from tests.fakes.upstream import FakeUpstream, Received, search_answer

_LARGE = limits.LARGE_BYTES_MIN + 1
_PATIENCE_S = 30


def _add(content: bytes, **source: Any) -> AddImageRequest:
    image = ImageSource(content=content, **source)
    return AddImageRequest(new_image=NewImage(image=image, brief="b"))


def _search(content: bytes) -> SearchImagesRequest:
    return SearchImagesRequest(image=ImageSource(content=content))


def _update(content: bytes) -> UpdateImageRequest:
    return UpdateImageRequest(image_ref=ImageRef(image=ImageSource(content=content)), brief="b")


def _delete(content: bytes) -> DeleteImageRequest:
    return DeleteImageRequest(image_ref=ImageRef(image=ImageSource(content=content)))


def _batch_delete(content: bytes) -> BatchDeleteImagesRequest:
    """A signature, and ``content`` in a field of a later version, which is passed over."""
    size = len(content)  # as three bytes of seven bits each: up to 2 MB
    length = bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14])
    later = b"\xc2\x3e" + length + content
    known = BatchDeleteImagesRequest(cont_signs=["1,2"])
    return BatchDeleteImagesRequest.FromString(known.SerializeToString() + later)


def _large(seed: int) -> bytes:
    return pictures.noise_jpeg(1_500_000, seed)


def _meanwhile(work: Callable[[], object]) -> threading.Event:
    """Run ``work`` in another thread; return what is set once it is done."""
    done = threading.Event()

    def run() -> None:
        work()
        done.set()

    threading.Thread(target=run, daemon=True).start()
    return done


def _prepare(size_bytes: int) -> None:
    with preparing.alone(size_bytes):
        pass


def test_one_large_picture_at_a_time() -> None:
    with preparing.alone(_LARGE):
        other = _meanwhile(lambda: _prepare(_LARGE))
        small = _meanwhile(lambda: _prepare(_LARGE - 1))
        assert small.wait(_PATIENCE_S)
        assert not other.wait(0.1)
        with preparing.alone(_LARGE):  # a step within it needs no turn of its own
            pass
        assert not other.wait(0.1)
        preparing.done()
        assert other.wait(_PATIENCE_S)
        preparing.done()
    assert _meanwhile(lambda: _prepare(_LARGE)).wait(_PATIENCE_S)


def test_a_turn_ends_with_an_error() -> None:
    with pytest.raises(ValueError, match="no picture"), preparing.alone(_LARGE):
        raise ValueError("no picture")
    assert _meanwhile(lambda: _prepare(_LARGE)).wait(_PATIENCE_S)


def test_small_calls_pass_while_a_large_one_waits_for_its_turn(stub: ProductSearchStub) -> None:
    with preparing.alone(_LARGE):
        large = stub.AddImage.future(_add(_large(1)), timeout=_PATIENCE_S)
        assert stub.SearchImages(_search(pictures.jpeg(2)), timeout=_PATIENCE_S).log_id == 7
        assert not large.done()
    assert large.result().cont_sign == "1,2"


@pytest.mark.parametrize(
    ("rpc", "method", "request_of", "answer"),
    [
        ("AddImage", "add", _add, {"log_id": 1, "cont_sign": "1,2"}),
        ("SearchImages", "search", _search, search_answer()),
        ("UpdateImage", "update", _update, {"log_id": 1}),
        ("DeleteImage", "delete", _delete, {"log_id": 1}),
        ("BatchDeleteImages", "delete", _batch_delete, {"log_id": 1}),
    ],
)
@pytest.mark.parametrize("size", [450_000, 1_500_000])
def test_no_large_call_waits_for_anothers_upstream(
    stub: ProductSearchStub,
    upstream: FakeUpstream,
    rpc: str,
    method: str,
    request_of: Callable[[bytes], Any],
    answer: dict[str, Any],
    size: int,
) -> None:
    """Two of each RPC are at the upstream together: a turn is over before the call is made."""
    together = threading.Barrier(2, timeout=_PATIENCE_S)

    def answer_both(_: Received) -> dict[str, Any]:
        together.wait()
        return answer

    upstream.always(method, answer_both)
    requests = [request_of(pictures.noise_jpeg(size, seed)) for seed in (1, 2)]
    calls = [getattr(stub, rpc).future(request, timeout=_PATIENCE_S) for request in requests]
    for call in calls:
        call.result()


def test_fit_does_not_keep_the_turn(
    stub: ProductSearchStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that is being scaled takes its time; others are made ready meanwhile."""
    scaling, go_on = threading.Event(), threading.Event()

    def fit(content: bytes) -> bytes:
        scaling.set()
        assert go_on.wait(_PATIENCE_S)
        return content

    monkeypatch.setattr(images, "fit", fit)
    fitted = stub.AddImage.future(_add(_large(1), fit=True), timeout=_PATIENCE_S)
    assert scaling.wait(_PATIENCE_S)
    assert stub.AddImage(_add(_large(2)), timeout=_PATIENCE_S).cont_sign == "1,2"
    go_on.set()
    assert fitted.result().cont_sign == "1,2"


def test_many_large_pictures_arrive_whole(stub: ProductSearchStub, upstream: FakeUpstream) -> None:
    """64 calls over buffers that are used again: each sends its own picture, byte for byte."""

    def add(seed: int) -> None:
        stub.AddImage(_add(_large(seed)), timeout=_PATIENCE_S)

    with ThreadPoolExecutor(16) as callers:
        list(callers.map(add, range(64)))
    wanted = {form.encode({"image": _large(seed), "brief": "b"}) for seed in range(64)}
    assert {call.body for call in upstream.calls} == wanted
