"""The whole path: gRPC facade, REST, engine, PostgreSQL, and back, typed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest

from demo.facade import Facade
from demo.processes import Engine
from productsearch import v1
from productsearch.v1 import ErrorReason as R
from tests.conftest import FacadeFactory, library_of
from tests.pictures import jpeg

Policy, Outcome, Filter = v1.DuplicatePolicy, v1.AddOutcome, v1.ClassFilter


def source(seed: int) -> v1.ImageSource:
    """Return an image by its bytes."""
    return v1.ImageSource(content=jpeg(seed))


def add(
    stub: v1.ProductSearchStub,
    image: v1.ImageSource,
    brief: str = "b",
    policy: Any = Policy.DUPLICATE_POLICY_UNSPECIFIED,
    **classes: int,
) -> v1.AddImageResponse:
    """Add an image."""
    new_image = v1.NewImage(image=image, brief=brief, **classes)
    return stub.AddImage(v1.AddImageRequest(new_image=new_image, duplicate_policy=policy))


def find(stub: v1.ProductSearchStub, image: v1.ImageSource, **fields: Any) -> list[v1.SearchResult]:
    """Search and return the results."""
    return [*stub.SearchImages(v1.SearchImagesRequest(image=image, **fields)).results]


def by_sign(sign: str) -> v1.ImageRef:
    """Return a reference by signature."""
    return v1.ImageRef(cont_sign=sign)


def reason(call: Any) -> str:
    """Return the name of the reason that the call fails with."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return R.Name(v1.reason_of(caught.value) or R.ERROR_REASON_UNSPECIFIED)


def test_an_added_image_is_found_with_its_brief(over_engine: v1.ProductSearchStub) -> None:
    """An image finds itself first, with score 1 and its brief byte for byte."""
    brief = '{"名称": "苹果 😀", "n": "a\u0000b"}'
    added = add(over_engine, source(1), brief)
    add(over_engine, source(2), "other")
    first, second = find(over_engine, source(1))
    assert (added.cont_sign, brief) == (first.cont_sign, first.brief)
    assert first.score == pytest.approx(1, abs=1e-3)
    assert 0 <= second.score < first.score
    assert Outcome.ADD_OUTCOME_CREATED == added.outcome
    assert 10**17 <= added.log_id < 2**63


def test_duplicate_policies(over_engine: v1.ProductSearchStub) -> None:
    """REJECT fails with the stored sign, KEEP leaves, UPDATE replaces brief and classes sent."""
    sign = add(over_engine, source(1), "one", class_id1=7).cont_sign
    assert "IMAGE_ALREADY_EXISTS" == reason(lambda: add(over_engine, source(1), "two"))
    kept = add(over_engine, source(1), "two", Policy.DUPLICATE_POLICY_KEEP)
    assert (sign, Outcome.ADD_OUTCOME_KEPT) == (kept.cont_sign, kept.outcome)
    assert ["one"] == [hit.brief for hit in find(over_engine, source(1))]
    updated = add(over_engine, source(1), "two", Policy.DUPLICATE_POLICY_UPDATE, class_id2=9)
    assert (sign, Outcome.ADD_OUTCOME_UPDATED) == (updated.cont_sign, updated.outcome)
    both = Filter(class_id1=7, class_id2=9)
    assert ["two"] == [hit.brief for hit in find(over_engine, source(1), class_filter=both)]


def test_identical_adds_store_one_image(over_engine: v1.ProductSearchStub) -> None:
    """Identical adds at once: one is created, all get the same sign."""
    request = v1.AddImageRequest(
        new_image=v1.NewImage(image=source(1), brief="b"),
        duplicate_policy=Policy.DUPLICATE_POLICY_KEEP,
    )
    calls = [over_engine.AddImage.future(request) for _ in range(48)]  # all that one caller may
    results = [call.result() for call in calls]
    assert 1 == len({result.cont_sign for result in results})
    assert 1 == sum(result.outcome == Outcome.ADD_OUTCOME_CREATED for result in results)
    assert 1 == len(find(over_engine, source(1)))


def test_update_changes_only_what_is_set(over_engine: v1.ProductSearchStub) -> None:
    """Each field alone; by sign and by the image; an unknown image is IMAGE_NOT_FOUND."""
    sign = add(over_engine, source(1), "one", class_id1=1, class_id2=2).cont_sign
    update = over_engine.UpdateImage
    update(v1.UpdateImageRequest(image_ref=by_sign(sign), brief="two"))
    update(v1.UpdateImageRequest(image_ref=v1.ImageRef(image=source(1)), class_id2=3))
    expected = Filter(class_id1=1, class_id2=3)
    assert ["two"] == [hit.brief for hit in find(over_engine, source(1), class_filter=expected)]
    for ref in (by_sign("1,1"), v1.ImageRef(image=source(2))):
        request = v1.UpdateImageRequest(image_ref=ref, brief="x")
        assert "IMAGE_NOT_FOUND" == reason(lambda request=request: update(request))


def test_delete_by_sign_and_by_image(over_engine: v1.ProductSearchStub) -> None:
    """Deleted at once, addable at once; missing is an error unless allow_missing."""
    sign = add(over_engine, source(1)).cont_sign
    refs = [by_sign(sign), v1.ImageRef(image=source(1))]
    for ref in refs:
        over_engine.DeleteImage(v1.DeleteImageRequest(image_ref=ref))
        assert [] == find(over_engine, source(1))
        again = v1.DeleteImageRequest(image_ref=ref)
        assert "IMAGE_NOT_FOUND" == reason(lambda again=again: over_engine.DeleteImage(again))
        over_engine.DeleteImage(v1.DeleteImageRequest(image_ref=ref, allow_missing=True))
        assert sign == add(over_engine, source(1)).cont_sign


def test_a_batch_answers_for_each_signature(over_engine: v1.ProductSearchStub) -> None:
    """Known ones are deleted, unknown ones told, in the order of the request."""
    signs = [add(over_engine, source(seed)).cont_sign for seed in range(3)]
    request = v1.BatchDeleteImagesRequest(cont_signs=[signs[0], "5,5", signs[1], signs[0]])
    response = over_engine.BatchDeleteImages(request)
    assert [*request.cont_signs] == [result.cont_sign for result in response.results]
    assert [False, True, False, False] == [result.HasField("error") for result in response.results]
    assert R.IMAGE_NOT_FOUND == v1.reason_of(response.results[1].error)
    assert all(result.log_id for result in response.results)
    assert 1 == response.failed_count
    assert [signs[2]] == [hit.cont_sign for hit in find(over_engine, source(2))]
    request = v1.BatchDeleteImagesRequest(cont_signs=[*signs, "5,5"], allow_missing=True)
    assert 0 == over_engine.BatchDeleteImages(request).failed_count
    assert [] == find(over_engine, source(2))


def test_filters_and_pages(over_engine: v1.ProductSearchStub) -> None:
    """AND, OR and one class; pages of 7 through 24 results lose none and repeat none."""
    for seed in range(24):
        add(over_engine, source(seed), str(seed), class_id1=seed % 4 + 1, class_id2=seed % 5 + 1)

    def briefs(**fields: Any) -> set[int]:
        filtered = Filter(**fields)
        return {int(hit.brief) for hit in find(over_engine, source(0), class_filter=filtered)}

    every = range(24)
    assert {n for n in every if n % 4 == 1} == briefs(class_id1=2)
    assert {n for n in every if n % 5 == 2} == briefs(class_id2=3)
    assert {n for n in every if n % 4 == 1 and n % 5 == 2} == briefs(class_id1=2, class_id2=3)
    either = Filter.OPERATOR_OR
    assert {n for n in every if n % 4 == 1 or n % 5 == 2} == briefs(
        class_id1=2, class_id2=3, operator=either
    )
    request = v1.SearchImagesRequest(image=source(0), page_size=7)
    whole = [hit.brief for hit in find(over_engine, source(0))]
    paged: list[str] = []
    while True:
        page = over_engine.SearchImages(request)
        paged += (hit.brief for hit in page.results)
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert (24, whole) == (len(whole), paged)
    assert whole[3:] == [hit.brief for hit in find(over_engine, source(0), skip=3)]
    best = find(over_engine, source(0), min_score=0.9)
    assert all(hit.score >= 0.9 for hit in best)
    assert 1 <= len(best) < 24


def test_a_full_library_says_so(engine: Engine, facade: FacadeFactory) -> None:
    """The image after the last place is LIBRARY_FULL with QuotaFailure; a delete makes room."""
    stub = facade(library_of(engine, "--capacity", "2"))
    sign = add(stub, source(1)).cont_sign
    add(stub, source(2))
    assert "LIBRARY_FULL" == reason(lambda: add(stub, source(3)))
    assert "IMAGE_ALREADY_EXISTS" == reason(lambda: add(stub, source(1)))
    stub.DeleteImage(v1.DeleteImageRequest(image_ref=by_sign(sign)))
    add(stub, source(3))


def test_a_library_that_was_deleted_is_not_ready(engine: Engine, facade: FacadeFactory) -> None:
    """The key pair still works, the library is gone: LIBRARY_NOT_READY."""
    pair = engine.create_library("vanishing")
    stub = facade({"base_url": engine.url, "api_key": pair[0], "secret_key": pair[1]})
    add(stub, source(1))
    engine.command("library", "delete", "vanishing", "--yes")
    assert "LIBRARY_NOT_READY" == reason(lambda: add(stub, source(2)))


def test_rejected_credentials(engine: Engine, facade: FacadeFactory) -> None:
    """A wrong secret at the real token endpoint is UPSTREAM_CREDENTIALS_REJECTED."""
    stub = facade(library_of(engine) | {"secret_key": "wrong"})
    assert "UPSTREAM_CREDENTIALS_REJECTED" == reason(lambda: add(stub, source(1)))


@pytest.fixture
def images_host() -> Iterator[str]:
    """Return the address of a host that serves images on loopback."""

    class Host(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = jpeg(int(self.path.strip("/")))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Host) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_images_by_url(open_engine: Engine, facade: FacadeFactory, images_host: str) -> None:
    """Add, search, update and delete by address; the sign is that of the same bytes."""
    stub = facade(library_of(open_engine))
    address = v1.ImageSource(url=f"{images_host}/1")
    sign = add(stub, address, "by url").cont_sign
    assert [sign] == [hit.cont_sign for hit in find(stub, source(1))]
    assert [sign] == [hit.cont_sign for hit in find(stub, address)]
    assert "IMAGE_ALREADY_EXISTS" == reason(lambda: add(stub, source(1)))
    ref = v1.ImageRef(image=address)
    stub.UpdateImage(v1.UpdateImageRequest(image_ref=ref, brief="new"))
    assert ["new"] == [hit.brief for hit in find(stub, source(1))]
    stub.DeleteImage(v1.DeleteImageRequest(image_ref=ref))
    assert [] == find(stub, source(1))


def test_an_address_that_the_engine_may_not_reach(
    over_engine: v1.ProductSearchStub, images_host: str
) -> None:
    """A loopback address is refused by default: IMAGE_URL_UNREACHABLE."""
    address = v1.ImageSource(url=f"{images_host}/1")
    assert "IMAGE_URL_UNREACHABLE" == reason(lambda: add(over_engine, address))


def test_validate_only_stores_nothing(over_engine: v1.ProductSearchStub) -> None:
    """AddImage and UpdateImage with validate_only answer without a log_id and change nothing."""
    request = v1.AddImageRequest(
        new_image=v1.NewImage(image=source(1), brief="b"), validate_only=True
    )
    response = over_engine.AddImage(request)
    assert (Outcome.ADD_OUTCOME_VALIDATED, 0, "") == (
        response.outcome,
        response.log_id,
        response.cont_sign,
    )
    assert [] == find(over_engine, source(1))
    sign = add(over_engine, source(1), "one").cont_sign
    over_engine.UpdateImage(
        v1.UpdateImageRequest(image_ref=by_sign(sign), brief="two", validate_only=True)
    )
    assert ["one"] == [hit.brief for hit in find(over_engine, source(1))]


@pytest.mark.slow
def test_everything_survives_a_restart(tmp_path: Path) -> None:
    """Facade, engine and PostgreSQL stopped and started: images, briefs and classes are there."""
    quick = {"PRODUCTSEARCH_DRAIN_DELAY_S": "0"}
    pair = None
    expected = {f"image {seed} 苹果": (seed + 1, seed + 100) for seed in range(5)}
    for life in ("first", "second"):
        with Engine(tmp_path / "engine") as engine:
            pair = pair or engine.create_library("default")
            keys = {"default": pair}
            data = tmp_path / life
            with (
                Facade(data, engine.url, keys, environment=quick) as facade,
                v1.connect(facade.url) as channel,
            ):
                stub = v1.ProductSearchStub(channel)
                if life == "first":
                    for seed, (brief, (one, two)) in enumerate(expected.items()):
                        add(stub, source(seed), brief, class_id1=one, class_id2=two)
                for seed, (brief, (one, two)) in enumerate(expected.items()):
                    only = Filter(class_id1=one, class_id2=two)
                    (hit,) = find(stub, source(seed), class_filter=only)
                    assert (brief, pytest.approx(1, abs=1e-3)) == (hit.brief, hit.score)
        assert not (tmp_path / "engine/postgres/postmaster.pid").exists()
