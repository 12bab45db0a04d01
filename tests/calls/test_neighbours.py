"""What one caller asks for holds up nobody else."""

from __future__ import annotations

import time
from typing import Any

import grpc

from productsearch import v1
from tests.calls.conftest import WatchedFactory
from tests.calls.watching import Watched, add, forwarded_for, late, outcome, search, until
from tests.fakes.upstream import FakeUpstream, Received, error, search_answer


def test_a_long_list_of_signatures_lets_other_calls_pass(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """10,000 malformed signatures in one call: a search that comes later is answered first.

    Tried some times: the caller may hear of both at once. Without turns for others it never is.
    """
    facade = watched()
    assert "OK" == outcome(facade.stub.SearchImages.future(search(1)))
    assert any(_passes(facade, search(number)) for number in range(2, 7))


def _passes(facade: Watched, request: v1.SearchImagesRequest) -> bool:
    """Whether a search is answered before the list of signatures that was sent first."""
    done: list[str] = []
    batch = facade.stub.BatchDeleteImages.future(
        v1.BatchDeleteImagesRequest(cont_signs=["x"] * 10_000)
    )
    batch.add_done_callback(lambda _: done.append("batch"))
    between = facade.stub.SearchImages.future(request)
    between.add_done_callback(lambda _: done.append("search"))
    assert "OK" == outcome(between)
    outcome(batch)
    return done[0] == "search"


def test_a_slow_image_host_shortens_nobodys_deadline(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """An add by URL that is answered 282112 after a while says nothing of how long others wait."""
    facade = watched(quota_qps=20, attempts_max=1)
    for number in range(4):
        assert "OK" == outcome(facade.stub.SearchImages.future(search(number)))
    upstream.then("add", late(1.5, error(282112)))
    by_url = v1.NewImage(image=v1.ImageSource(url="http://host/image.jpg"), brief="b")
    slow = facade.stub.AddImage.future(v1.AddImageRequest(new_image=by_url))
    assert "IMAGE_URL_UNREACHABLE" == outcome(slow)
    for number, deadline_s in enumerate((0.6, 1.0, 2.0), start=10):
        call = facade.stub.SearchImages.future(search(number), timeout=deadline_s)
        assert "OK" == outcome(call), f"a deadline of {deadline_s} s"
    assert "OK" == outcome(facade.stub.AddImage.future(add(20), timeout=1.0))


def test_what_the_upstream_said_is_not_hidden_by_a_refusal_of_our_own(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """282000, and then no slot in time for another attempt: the upstream's code is told."""
    facade = watched(quota_qps=2)
    upstream.always("update", error(282000))
    ref = v1.ImageRef(cont_sign="1,2")
    told = facade.stub.UpdateImage.future(
        v1.UpdateImageRequest(image_ref=ref, brief="b"), timeout=2.5
    )
    until(lambda: upstream.calls)
    queued = [facade.stub.AddImage.future(add(number), timeout=20) for number in range(6)]
    assert "UPSTREAM_UNAVAILABLE" == outcome(told)
    assert isinstance(told, grpc.RpcError)
    assert 282000 == v1.upstream_code_of(told)
    assert {"OK"} == {outcome(call) for call in queued}


def test_searches_that_are_alike_share_the_upstreams_own_limit(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """Error 18 is true for all of them: they are told together, after one call's attempts."""
    facade = watched(attempts_max=1)
    upstream.always("search", late(0.5, error(18)))
    calls = [facade.stub.SearchImages.future(search(1)) for _ in range(6)]
    assert {"RATE_LIMITED"} == {outcome(call) for call in calls}
    assert 1 == len(upstream.calls)


def test_long_lines_in_an_answers_head_are_read(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """A gateway's cookie of 40 KB is none of our business."""
    upstream.extra_headers["Set-Cookie"] = "a=" + "x" * 40_000
    assert "OK" == outcome(watched().stub.SearchImages.future(search(1)))


def test_slow_inputs_of_one_caller_refuse_nobody_else(
    watched: WatchedFactory, upstream: FakeUpstream
) -> None:
    """One caller's searches take the upstream long: another one's short deadlines are enough."""

    def answered(request: Received) -> Any:
        time.sleep(2 if b"rn=7&" in request.body or request.body.endswith(b"rn=7") else 0)
        return search_answer()

    upstream.always("search", answered)
    facade = watched(quota_qps=20)
    slow = []
    for number in range(4):
        request = search(number)
        request.page_size = 7
        slow.append(facade.stub.SearchImages.future(request, metadata=forwarded_for("slow")))
    assert 4 * ["OK"] == [outcome(call) for call in slow]
    for number in range(2, 12):
        call = facade.stub.SearchImages.future(
            search(number), metadata=forwarded_for("quick"), timeout=1.8
        )
        assert "OK" == outcome(call)


def test_nobody_waits_in_anothers_queue(watched: WatchedFactory, upstream: FakeUpstream) -> None:
    """A search that is like one at the end of another caller's queue has a turn of its own."""
    facade = watched(quota_qps=5)
    queue = [
        facade.stub.SearchImages.future(search(number), metadata=forwarded_for("a"), timeout=60)
        for number in range(30)
    ]
    until(lambda: facade.metric("pacer_waiting") >= 20)
    began_s = time.monotonic()
    call = facade.stub.SearchImages.future(search(29), metadata=forwarded_for("b"), timeout=4)
    assert "OK" == outcome(call)
    assert time.monotonic() - began_s < 3
    for each in queue:
        each.cancel()
