"""BatchDeleteImages: up to 10,000 signatures, each with its own result, in few calls."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

import grpc
import pytest

from productsearch import v1
from productsearch.v1 import ErrorReason as R
from productsearch_service import limits
from tests.conftest import FacadeFactory
from tests.fakes.cutting import Cut, CuttingUpstream
from tests.fakes.upstream import FakeUpstream, Received, error

OK, MISSING = "", R.Name(R.IMAGE_NOT_FOUND)


class Shelf:
    """What an upstream has stored; it refuses a group with an unknown signature as a whole."""

    def __init__(self, stored: set[str]) -> None:
        self.stored = stored
        self.groups: list[list[str]] = []

    def __call__(self, request: Received) -> Any:
        group = unquote_plus(request.body.decode().removeprefix("cont_sign=")).split(";")
        self.groups.append(group)
        if not self.stored >= {*group}:
            return error(216680, "item not exist", log_id=9)
        self.stored -= {*group}
        return {"log_id": 104}


def _signs(count: int) -> list[str]:
    return [f"{number},1" for number in range(count)]


def _delete(stub: v1.ProductSearchStub, signs: list[str], **options: Any) -> dict[str, str]:
    """Return for each signature the reason why it was not deleted, or nothing."""
    request = v1.BatchDeleteImagesRequest(cont_signs=signs, **options)
    response = stub.BatchDeleteImages(request, timeout=60)
    assert signs == [result.cont_sign for result in response.results]
    reasons = {
        result.cont_sign: R.Name(v1.reason_of(result.error) or 0)
        if result.HasField("error")
        else OK
        for result in response.results
    }
    assert response.failed_count == sum(map(bool, (reasons[sign] for sign in signs)))
    return reasons


def _calls_max(count: int, unknown: int) -> int:
    """Return a bound on the calls: each unknown signature halves its group down to itself."""
    groups = -(-count // limits.BATCH_DELETE_MAX)
    halvings = (min(count, limits.BATCH_DELETE_MAX) - 1).bit_length()
    return groups + 2 * halvings * unknown


@pytest.mark.parametrize("allow_missing", [False, True])
@pytest.mark.parametrize(
    ("count", "unknown"),
    [(1, 0), (1, 1), (2, 1), (3, 3), (100, 0), (100, 1), (100, 2), (101, 1), (250, 3), (600, 6)],
)
def test_unknown_signatures_fail_alone_and_cost_few_calls(
    count: int,
    unknown: int,
    allow_missing: bool,
    stub: v1.ProductSearchStub,
    upstream: FakeUpstream,
) -> None:
    """Wherever the unknown ones stand: they alone fail, the others are deleted; about 14 calls
    for one in a hundred, not 101.
    """
    signs = _signs(count)
    for seed in range(3):
        lost = {*random.Random(seed).sample(signs, unknown)}
        shelf = Shelf({*signs} - lost)
        upstream.always("delete", shelf)
        wanted = {sign: MISSING if sign in lost and not allow_missing else OK for sign in signs}
        assert wanted == _delete(stub, signs, allow_missing=allow_missing)
        assert set() == shelf.stored
        assert len(shelf.groups) <= _calls_max(count, unknown)
        assert limits.BATCH_DELETE_MAX >= max(map(len, shelf.groups))
        if (count, unknown) == (100, 1):
            assert 15 >= len(shelf.groups)


def test_a_signature_that_is_sent_twice_is_deleted_once(
    stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """Also with blanks around it: one call, and each of the results is the same."""
    shelf = Shelf({"1,2", "3,4"})
    upstream.always("delete", shelf)
    request = v1.BatchDeleteImagesRequest(cont_signs=["1,2", " 1,2", "3,4", "1,2"])
    response = stub.BatchDeleteImages(request)
    assert [["1,2", "3,4"]] == shelf.groups
    assert (4, 0) == (len(response.results), response.failed_count)


def test_another_failure_of_a_group_is_that_of_its_signatures(
    stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """A group that fails for another reason is not halved, and the next group is deleted."""
    signs = _signs(150)
    upstream.then("delete", error(216100, "invalid param", log_id=5))
    reasons = _delete(stub, signs)
    assert [R.Name(R.FIELD_INVALID)] * 100 + [OK] * 50 == [reasons[sign] for sign in signs]
    assert 2 == len(upstream.calls)


@pytest.fixture
def cutting() -> Iterator[CuttingUpstream]:
    """Return an upstream that can lose an answer."""
    with CuttingUpstream() as upstream:
        yield upstream


def test_a_lost_answer_of_a_group_is_settled(
    cutting: CuttingUpstream, facade: FacadeFactory
) -> None:
    """A group that was deleted although nobody heard of it counts as deleted, each of it."""
    signs = _signs(10)
    cutting.stored |= dict.fromkeys(signs, "b")
    stub = facade({"base_url": cutting.url})
    with pytest.raises(grpc.RpcError):
        stub.DeleteImage(v1.DeleteImageRequest(image_ref=v1.ImageRef(cont_sign="99,99")))
    cutting.arm(Cut(side="answer", at=0, kind="close"))
    assert dict.fromkeys(signs, OK) == _delete(stub, signs)
    assert {} == cutting.stored
