"""BatchDeleteImages takes many signatures, and as much time as its caller gives it."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from typing import Any
from urllib.parse import parse_qs

from productsearch import v1
from productsearch_service import limits
from tests.calls.conftest import WatchedFactory
from tests.calls.watching import error_of, outcome, until
from tests.fakes.upstream import FakeUpstream, error

CALLS_FOR_ONE_UNKNOWN = 15
"""A group of 100, halved seven times; each half is asked."""
CAP_S = 1.5
"""Of one upstream call; on a busy machine such a call takes up to a second."""


class Images:
    """The images that the upstream has: deletes by signature, all or none of a call."""

    def __init__(self, stored: set[str], seconds: float = 0) -> None:
        self.stored = stored
        self.deleted: Counter[str] = Counter()
        self._seconds = seconds
        self._lock = threading.Lock()

    def __call__(self, request: Any) -> Any:
        """Answer a delete."""
        time.sleep(self._seconds)
        signs = parse_qs(request.body.decode())["cont_sign"][0].split(";")
        with self._lock:
            if not self.stored.issuperset(signs):
                return error(216680, "item not exist")
            self.stored.difference_update(signs)
            self.deleted.update(signs)
        return {"log_id": 104}


def _signs(count: int) -> list[str]:
    return [f"{number},{number}" for number in range(count)]


def _seed() -> int:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return seed


def test_it_outlives_the_cap_of_one_call(watched: WatchedFactory, upstream: FakeUpstream) -> None:
    """600 signatures, 6 of them unknown, a quota: the RPC takes longer than one call may.

    Every known one is deleted, once; about 14 calls find one unknown in 100.
    """
    signs = _signs(600)
    unknown = set(random.Random(_seed()).sample(signs, 6))
    images = Images(set(signs) - unknown)
    upstream.always("delete", images)
    facade = watched(quota_qps=30, call_timeout_s=CAP_S)
    began_s = time.monotonic()
    request = v1.BatchDeleteImagesRequest(cont_signs=signs)
    response = facade.stub.BatchDeleteImages(request, timeout=60)
    assert time.monotonic() - began_s > CAP_S
    errors = {result.cont_sign: error_of(result) for result in response.results}
    assert {sign: "IMAGE_NOT_FOUND" if sign in unknown else "OK" for sign in signs} == errors
    assert 6 == response.failed_count
    assert dict.fromkeys(set(signs) - unknown, 1) == images.deleted
    assert len(upstream.calls) <= 6 * CALLS_FOR_ONE_UNKNOWN


def test_a_group_with_an_unknown_signature_is_halved(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """Wherever the unknown one stands among 100: at most 15 calls, and 99 are deleted."""
    facade = watched()
    signs = _signs(limits.BATCH_DELETE_MAX)
    request = v1.BatchDeleteImagesRequest(cont_signs=signs)
    for place in (0, 99, *random.Random(_seed()).sample(range(1, 99), 10)):
        images = Images(set(signs) - {signs[place]})
        upstream.always("delete", images)
        before = len(upstream.calls)
        response = facade.stub.BatchDeleteImages(request, timeout=60)
        errors = [error_of(result) for result in response.results]
        assert [place] == [at for at, came_to in enumerate(errors) if came_to != "OK"]
        assert "IMAGE_NOT_FOUND" == errors[place]
        assert len(upstream.calls) - before <= CALLS_FOR_ONE_UNKNOWN
        assert (set(), 99) == (images.stored, images.deleted.total())


def test_a_malformed_signature_fails_its_own_result(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """One that is no signature: FIELD_INVALID in its place, the others are deleted."""
    facade = watched()
    for malformed in ("", "x", "1", "1,2;3,4", "4294967296,1", "-1,2", "1,2,3"):
        images = Images({"1,1", "2,2"})
        upstream.always("delete", images)
        request = v1.BatchDeleteImagesRequest(cont_signs=["1,1", malformed, "2,2"])
        response = facade.stub.BatchDeleteImages(request)
        assert ["OK", "FIELD_INVALID", "OK"] == [error_of(result) for result in response.results]
        assert ["1,1", malformed, "2,2"] == [result.cont_sign for result in response.results]
        assert {"1,1": 1, "2,2": 1} == images.deleted
        assert ["cont_signs[1]"] == [*v1.field_violations_of(response.results[1].error)]


def test_results_come_back_when_the_deadline_ends_in_the_middle(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """Whatever the deadline: what was deleted is told as deleted, the rest as failed."""
    facade = watched()
    signs = _signs(600)
    for deadline_s in (0.4, 0.6, 0.9):
        images = Images(set(signs), seconds=0.15)
        upstream.always("delete", images)
        call = facade.stub.BatchDeleteImages.future(
            v1.BatchDeleteImagesRequest(cont_signs=signs), timeout=deadline_s
        )
        assert "OK" == outcome(call), f"a deadline of {deadline_s} s"
        errors = {result.cont_sign: error_of(result) for result in call.result().results}
        gone = {sign for sign, came_to in errors.items() if came_to == "OK"}
        assert 0 < len(gone) < 600
        assert gone <= images.deleted.keys()
        assert {"OK", "UPSTREAM_UNAVAILABLE", "DEADLINE_TOO_SHORT"} >= set(errors.values())
        until(lambda: facade.in_flight() == 0)
