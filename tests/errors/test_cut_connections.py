"""What callers are told when the connection to the upstream breaks: it is true, and in time."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import grpc
import pytest
import requests

from productsearch import v1
from tests.fakes.cutting import Cut, CuttingUpstream, sign_of
from tests.pictures import numbered_jpeg
from tests.soak import add
from tests.soak.cut_calls import RPCS, TOKEN, Rpc, words_of
from tests.soak.cut_cases import KINDS, Case, sizes
from tests.soak.cut_stage import Stage, stages

ADD_PATH = "/rest/2.0/image-classify/v1/realtime_search/product/add?access_token=t"
LENGTH_AT = len("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:")
LOST = Cut(side="answer", at=0, kind="close")
"""The call is carried out and nobody hears of it; the next attempt is answered."""


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Return a library of a facade, with an upstream of its own."""
    with stages(1) as (only,):
        yield only


def search(stage: Stage) -> None:
    """Make a first call: it fetches the token, so that the next connection is the call's."""
    image = v1.ImageSource(content=numbered_jpeg(1))
    stage.stub.SearchImages(v1.SearchImagesRequest(image=image), timeout=30)


@pytest.mark.parametrize("rpc", [*RPCS, TOKEN], ids=lambda rpc: rpc.name)
def test_each_joint(rpc: Rpc) -> None:
    """Broken between any two parts of the exchange, once or for good, the outcome table holds."""
    head, body, answer = sizes(rpc)
    joints = {"request": (0, head, head + body), "answer": (0, 40, LENGTH_AT, answer - 1)}
    cases = [
        Case(rpc, Cut(side=side, at=at, kind=kind, lasting=lasting))
        for side, bytes_at in joints.items()
        for at in bytes_at
        for kind in KINDS
        for lasting in (False, True)
    ]
    add.assert_table_kept(cases)


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.name)
def test_slow_answer(rpc: Rpc) -> None:
    """An answer that comes a byte at a time keeps no call beyond its deadline."""
    cuts = [Cut(side="answer", at=at, kind="drip") for at in (0, 30, 90)]
    add.assert_table_kept([Case(rpc, cut) for cut in cuts])


def test_lost_answer_of_an_add_is_settled(stage: Stage) -> None:
    """The first attempt stored the image, the second hears 216681: created, with its sign."""
    search(stage)
    stage.upstream.arm(LOST)
    (told,) = RPCS[0].play(stage, 10)
    assert (None, True) == (told.failure, told.true)
    assert 1 == stage.upstream.times("add", told.sign)


def test_update_policy_after_a_lost_answer(stage: Stage) -> None:
    """With UPDATE an OK means that brief is what was sent, also if an answer was lost before."""
    image = numbered_jpeg(7)
    stage.upstream.stored[sign_of(image)] = "old"
    request = v1.AddImageRequest(
        new_image=v1.NewImage(image=v1.ImageSource(content=image), brief="new"),
        duplicate_policy=v1.DuplicatePolicy.DUPLICATE_POLICY_UPDATE,
    )
    search(stage)
    stage.upstream.arm(LOST)
    stage.stub.AddImage(request, timeout=10)
    assert "new" == stage.upstream.stored[sign_of(image)]


def test_batch_with_an_unknown_sign_after_a_lost_answer(stage: Stage) -> None:
    """The upstream refuses the batch as a whole and that answer is lost: no sign is said to be
    deleted that is still stored.
    """
    known, unknown = stage.stored[0], "1,1"
    search(stage)
    stage.upstream.arm(LOST)
    request = v1.BatchDeleteImagesRequest(cont_signs=[known, unknown])
    reply = stage.stub.BatchDeleteImages(request, timeout=10)
    said_deleted = {r.cont_sign for r in reply.results if not r.HasField("error")}
    assert set() == said_deleted & stage.upstream.stored.keys()


def test_delete_of_a_lost_answer(stage: Stage) -> None:
    """A delete whose answer was lost and whose second attempt hears 216680 succeeded."""
    search(stage)
    stage.upstream.arm(LOST)
    request = v1.DeleteImageRequest(image_ref=v1.ImageRef(cont_sign=stage.stored[0]))
    stage.stub.DeleteImage(request, timeout=10)
    assert 1 == stage.upstream.times("delete", stage.stored[0])


def test_add_that_was_never_sent(stage: Stage) -> None:
    """Without a token no add is begun: UNAVAILABLE, and trying again is harmless."""
    stage.upstream.arm(Cut(side="answer", at=20, kind="reset", lasting=True))
    with pytest.raises(grpc.RpcError) as caught:
        RPCS[0].play(stage, 5)
    assert ("UNAVAILABLE", "UPSTREAM_UNAVAILABLE") == words_of(caught.value)
    assert {"token"} >= {entry.method for entry in stage.upstream.journal}


@pytest.mark.parametrize("at", [0, 17, 80])
@pytest.mark.parametrize("kind", ["close", "reset"])
def test_the_fake_carries_out_what_arrived_whole(kind: str, at: int) -> None:
    """The fake upstream itself: stored though its answer is cut, then 216681 with the sign."""
    body = {"image": base64.b64encode(b"+/image").decode(), "brief": "a b"}
    with CuttingUpstream() as upstream, requests.Session() as session:
        upstream.arm(Cut(side="answer", at=at, kind=kind))
        with pytest.raises(requests.RequestException):
            session.post(upstream.url + ADD_PATH, data=body, timeout=10).json()
        again = session.post(upstream.url + ADD_PATH, data=body, timeout=10).json()
        assert {sign_of(b"+/image"): "a b"} == upstream.stored
        assert (216681, sign_of(b"+/image")) == (again["error_code"], again["cont_sign"])
        assert [0, 216681] == [entry.code for entry in upstream.journal]


@pytest.mark.parametrize("at", [0, 40, 250])
def test_the_fake_forgets_what_arrived_in_part(at: int) -> None:
    """The fake upstream itself: it takes the bytes that it was told to and does nothing."""
    body = {"image": base64.b64encode(b"image" * 40).decode(), "brief": "b"}
    with CuttingUpstream() as upstream, requests.Session() as session:
        upstream.arm(Cut(side="request", at=at, kind="close"))
        with pytest.raises(requests.ConnectionError):
            session.post(upstream.url + ADD_PATH, data=body, timeout=10)
        (entry,) = upstream.journal
        assert (at, "") == (entry.head_bytes + entry.body_bytes, entry.method)
        assert {} == upstream.stored
