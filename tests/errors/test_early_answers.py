"""An answer that comes while a large request is still being sent is the call's answer."""

from __future__ import annotations

import grpc
import pytest

from productsearch import v1
from productsearch.v1 import ErrorReason as R
from productsearch_service import limits
from tests.conftest import FacadeFactory
from tests.fakes.early_upstream import KINDS, early_upstream
from tests.pictures import noise_jpeg

IMAGE = v1.ImageSource(content=noise_jpeg(2_500_000))
SEARCH = v1.SearchImagesRequest(image=IMAGE)
ADD = v1.AddImageRequest(new_image=v1.NewImage(image=IMAGE, brief="b"))
_PATIENCE_S = 30
_IN_ORDER = [kind for kind in KINDS if kind != "reset"]


@pytest.mark.parametrize("at_bytes", [0, 100_000, 2_000_000])
@pytest.mark.parametrize("kind", _IN_ORDER)
def test_an_early_answer_is_heard(kind: str, at_bytes: int, facade: FacadeFactory) -> None:
    """Whatever the upstream does with the connection later: each call is answered by its first
    attempt, adds too, and none waits until a limit ends it.
    """
    with early_upstream(kind, at_bytes) as upstream:
        stub = facade({"base_url": upstream.url})
        for call, request in ((stub.SearchImages, SEARCH), (stub.AddImage, ADD)) * 2:
            before = upstream.calls()
            with pytest.raises(grpc.RpcError) as caught:
                call(request, timeout=limits.SEND_STALL_TIMEOUT_S / 2)
            assert R.IMAGE_SIZE_INVALID == v1.reason_of(caught.value)
            assert 5 == v1.log_id_of(caught.value)
            assert before + 1 == upstream.calls()


@pytest.mark.parametrize("at_bytes", [0, 100_000, 2_000_000])
def test_an_early_answer_before_a_reset_is_heard(at_bytes: int, facade: FacadeFactory) -> None:
    """A connection that is reset right behind the answer costs another attempt at worst."""
    with early_upstream("reset", at_bytes) as upstream:
        stub = facade({"base_url": upstream.url})
        for _ in range(8):
            with pytest.raises(grpc.RpcError) as caught:
                stub.SearchImages(SEARCH, timeout=_PATIENCE_S)
            assert R.IMAGE_SIZE_INVALID == v1.reason_of(caught.value)
        assert upstream.calls() <= 12


def test_early_answers_open_no_breaker(facade: FacadeFactory) -> None:
    """They are answers: an upstream that gives them is not taken for down."""
    with early_upstream("later", 0) as upstream:
        stub = facade({"base_url": upstream.url, "breaker_failures": 1})
        for _ in range(4):
            with pytest.raises(grpc.RpcError) as caught:
                stub.SearchImages(SEARCH, timeout=_PATIENCE_S)
            assert R.IMAGE_SIZE_INVALID == v1.reason_of(caught.value)
        assert 4 == upstream.calls()
