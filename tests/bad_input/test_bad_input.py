"""Each wrong field of each RPC: a typed error that names it, and no call to the engine."""

from __future__ import annotations

import math
import re
import threading
import urllib.request
from typing import Any

import grpc
import pytest

from demo.processes import Engine
from productsearch import v1
from productsearch.v1 import ErrorReason as R
from productsearch_service import limits
from productsearch_service.images.form_encoding import FormEncoder
from productsearch_service.images.form_encoding import encode as form_value_of
from productsearch_service.images.inspect import SizeInvalid
from productsearch_service.settings import Settings
from tests.conftest import FacadeFactory, library_of
from tests.facade import Server
from tests.pictures import draw, encode, jpeg, noise_jpeg

GOOD = v1.ImageSource(content=jpeg(1))
SIGN = v1.ImageRef(cont_sign="1,2")
NewImage, Source, Filter = v1.NewImage, v1.ImageSource, v1.ClassFilter


def add(image: Source = GOOD, brief: str = "b", **fields: Any) -> tuple[str, v1.AddImageRequest]:
    request = {name: fields.pop(name) for name in ("duplicate_policy",) if name in fields}
    new_image = NewImage(image=image, brief=brief, **fields)
    return "AddImage", v1.AddImageRequest(new_image=new_image, **request)


def search(image: Source = GOOD, **fields: Any) -> tuple[str, v1.SearchImagesRequest]:
    return "SearchImages", v1.SearchImagesRequest(image=image, **fields)


def update(ref: v1.ImageRef = SIGN, **fields: Any) -> tuple[str, v1.UpdateImageRequest]:
    return "UpdateImage", v1.UpdateImageRequest(image_ref=ref, **fields)


def delete(ref: v1.ImageRef) -> tuple[str, v1.DeleteImageRequest]:
    return "DeleteImage", v1.DeleteImageRequest(image_ref=ref)


def batch(*signs: str) -> tuple[str, v1.BatchDeleteImagesRequest]:
    return "BatchDeleteImages", v1.BatchDeleteImagesRequest(cont_signs=signs)


BAD_SIGNS = ("", "1", "1,", "1,2,3", "-1,2", "4294967296,1", "1;2", "1,2;3,4", "٣,٤")

BAD_SOURCES: dict[str, tuple[Source, str, int]] = {
    "no source": (Source(), "", R.FIELD_INVALID),
    "empty content": (Source(content=b""), ".content", R.IMAGE_UNREADABLE),
    "no image": (Source(content=b"GIF89a no"), ".content", R.IMAGE_UNREADABLE),
    "text": (Source(content=b"hello"), ".content", R.IMAGE_UNREADABLE),
    "header cut": (Source(content=jpeg(1)[:20]), ".content", R.IMAGE_UNREADABLE),
    "webp": (Source(content=encode(draw(1), "WEBP")), ".content", R.IMAGE_UNREADABLE),
    "299 wide": (Source(content=jpeg(1, 299, 400)), ".content", R.IMAGE_SIZE_INVALID),
    "4097 high": (Source(content=jpeg(1, 300, 4097)), ".content", R.IMAGE_SIZE_INVALID),
    "too many bytes": (Source(content=noise_jpeg(3_100_000)), ".content", R.IMAGE_SIZE_INVALID),
    "5 MB": (Source(content=noise_jpeg(5_000_000)), ".content", R.IMAGE_SIZE_INVALID),
    "fit, no image": (Source(content=b"hello", fit=True), ".content", R.IMAGE_UNREADABLE),
    "fit, cut": (
        Source(content=jpeg(1, 200, 200)[:-900], fit=True),
        ".content",
        R.IMAGE_UNREADABLE,
    ),
    "fit, too long": (Source(content=jpeg(1, 20, 900), fit=True), ".content", R.IMAGE_SIZE_INVALID),
    "fit of a url": (Source(url="http://a.example/x", fit=True), ".fit", R.FIELD_INVALID),
    "empty url": (Source(url=""), ".url", R.FIELD_INVALID),
    "long url": (Source(url="http://a.example/" + "x" * 1008), ".url", R.FIELD_INVALID),
    "ftp url": (Source(url="ftp://a.example/x"), ".url", R.FIELD_INVALID),
    "no host": (Source(url="http:///x"), ".url", R.FIELD_INVALID),
    "blank in url": (Source(url="http://a.example/a b"), ".url", R.FIELD_INVALID),
    "newline in url": (Source(url="http://a.example/a\r\nb"), ".url", R.FIELD_INVALID),
    "port of a url": (Source(url="http://a.example:99999/"), ".url", R.FIELD_INVALID),
    "broken host": (Source(url="http://[::1/x"), ".url", R.FIELD_INVALID),
}

BAD_FIELDS: dict[str, tuple[tuple[str, Any], str, int]] = {
    "add: no new_image": (("AddImage", v1.AddImageRequest()), "new_image", R.FIELD_INVALID),
    "add: no brief": (add(brief=""), "new_image.brief", R.FIELD_INVALID),
    "add: long brief": (add(brief="é" * 129), "new_image.brief", R.FIELD_INVALID),
    "add: class 0": (add(class_id1=0), "new_image.class_id1", R.FIELD_INVALID),
    "add: class 65536": (add(class_id2=65536), "new_image.class_id2", R.FIELD_INVALID),
    "add: class -1": (add(class_id1=-1), "new_image.class_id1", R.FIELD_INVALID),
    "add: policy 9": (add(duplicate_policy=9), "duplicate_policy", R.FIELD_INVALID),
    "search: no image": (search(Source()), "image", R.FIELD_INVALID),
    "search: page_size": (search(page_size=-1), "page_size", R.FIELD_INVALID),
    "search: skip": (search(skip=-1), "skip", R.FIELD_INVALID),
    "search: score over 1": (search(min_score=1.01), "min_score", R.FIELD_INVALID),
    "search: score below 0": (search(min_score=-0.1), "min_score", R.FIELD_INVALID),
    "search: score NaN": (search(min_score=math.nan), "min_score", R.FIELD_INVALID),
    "search: page_token": (search(page_token="x"), "page_token", R.PAGE_TOKEN_INVALID),
    "search: filter": (search(class_filter=Filter()), "class_filter", R.FIELD_INVALID),
    "search: class 0": (
        search(class_filter=Filter(class_id1=0)), "class_filter.class_id1", R.FIELD_INVALID
    ),
    "search: class 65536": (
        search(class_filter=Filter(class_id2=65536)), "class_filter.class_id2", R.FIELD_INVALID
    ),
    "search: operator": (
        search(class_filter=Filter(class_id1=1, operator=7)),  # type: ignore[arg-type]
        "class_filter.operator",
        R.FIELD_INVALID,
    ),
    "update: no ref": (update(v1.ImageRef(), brief="b"), "image_ref", R.FIELD_INVALID),
    "update: nothing": (update(), "brief", R.FIELD_INVALID),
    "update: brief": (update(brief=""), "brief", R.FIELD_INVALID),
    "update: long brief": (update(brief="x" * 257), "brief", R.FIELD_INVALID),
    "update: class_id1": (update(class_id1=0), "class_id1", R.FIELD_INVALID),
    "update: class_id2": (update(class_id2=70000), "class_id2", R.FIELD_INVALID),
    "delete: no ref": (delete(v1.ImageRef()), "image_ref", R.FIELD_INVALID),
    "batch: none": (batch(), "cont_signs", R.FIELD_INVALID),
    **{
        f"delete: sign {sign!r}": (
            delete(v1.ImageRef(cont_sign=sign)), "image_ref.cont_sign", R.FIELD_INVALID
        )
        for sign in BAD_SIGNS
    },
}  # fmt: skip

BAD_FIELDS |= {
    f"{rpc}: {name}": (make(source), prefix + suffix, reason)
    for name, (source, suffix, reason) in BAD_SOURCES.items()
    for rpc, make, prefix in (
        ("add", lambda source: add(source), "new_image.image"),
        ("search", lambda source: search(source), "image"),
        ("update", lambda source: update(v1.ImageRef(image=source), brief="b"), "image_ref.image"),
        ("delete", lambda source: delete(v1.ImageRef(image=source)), "image_ref.image"),
    )
}


@pytest.fixture(scope="module")
def channel(engine: Engine) -> Any:
    """Return a channel to a facade over the engine."""
    library = library_of(engine) | {"quota_qps": "0"}
    server = Server(Settings(listen="127.0.0.1:0", libraries={"default": library}, drain_delay_s=0))
    server.start()
    with v1.connect(f"127.0.0.1:{server.port}") as channel:
        yield channel
    server.stop(threading.Event())


@pytest.fixture(scope="module")
def counted(engine: Engine, channel: grpc.Channel) -> Any:
    """Return a stub and a function that tells how many API calls the engine has answered."""

    def calls() -> int:
        with urllib.request.urlopen(f"{engine.url}/metrics") as answer:
            text = answer.read().decode()
        found = re.findall(
            r'^productsearch_engine_requests_total\{.*method="(\w+)"\} (\d+)', text, re.M
        )
        return sum(int(number) for method, number in found if method != "token")

    return v1.ProductSearchStub(channel), calls


@pytest.mark.parametrize("case", BAD_FIELDS)
def test_a_wrong_field_is_named_and_nothing_is_sent(case: str, counted: Any) -> None:
    """INVALID_ARGUMENT, the reason, exactly this field path; the engine was not called."""
    stub, calls = counted
    (method, request), field, reason = BAD_FIELDS[case]
    before = calls()
    with pytest.raises(grpc.RpcError) as caught:
        getattr(stub, method)(request)
    assert grpc.StatusCode.INVALID_ARGUMENT == caught.value.code()
    assert [field] == [*v1.field_violations_of(caught.value)]
    assert R.Name(reason) == R.Name(v1.reason_of(caught.value) or 0)
    assert before == calls()


@pytest.mark.parametrize("index", [0, 1, 2, len(BAD_SIGNS)])
@pytest.mark.parametrize("bad", [BAD_SIGNS, *((sign,) for sign in BAD_SIGNS)], ids=str)
def test_a_wrong_sign_of_a_batch_fails_alone(
    bad: tuple[str, ...], index: int, counted: Any
) -> None:
    """Its result names its field; the others get what the upstream says, in the order sent."""
    stub, calls = counted
    good = [f"{number},77" for number in range(len(BAD_SIGNS))]
    signs = [*good[:index], *bad, *good[index:]]
    before = calls()
    _, request = batch(*signs)
    request.allow_missing = True
    response = stub.BatchDeleteImages(request)
    assert signs == [result.cont_sign for result in response.results]
    assert len(bad) == response.failed_count
    assert calls() > before
    for at, result in enumerate(response.results):
        assert result.HasField("error") == (index <= at < index + len(bad))
        if result.HasField("error"):
            assert grpc.StatusCode.INVALID_ARGUMENT.value[0] == result.error.code
            assert R.FIELD_INVALID == v1.reason_of(result.error)
            assert [f"cont_signs[{at}]"] == [*v1.field_violations_of(result.error)]


def test_a_batch_of_wrong_signs_costs_no_call(counted: Any) -> None:
    """Each result fails, the RPC does not, and nothing is sent to the upstream."""
    stub, calls = counted
    before = calls()
    response = stub.BatchDeleteImages(batch(*BAD_SIGNS)[1])
    assert len(BAD_SIGNS) == response.failed_count == len(response.results)
    assert before == calls()


@pytest.mark.parametrize("method", ["AddImage", "SearchImages", "BatchDeleteImages"])
def test_bytes_that_are_no_message_are_a_typed_error(method: str, channel: grpc.Channel) -> None:
    """INVALID_ARGUMENT and FIELD_INVALID with a violation, not grpc's bare INTERNAL."""
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"/productsearch.v1.ProductSearch/{method}")(b"\xff\xff\xff")
    assert grpc.StatusCode.INVALID_ARGUMENT == caught.value.code()
    assert R.FIELD_INVALID == v1.reason_of(caught.value)
    assert ["request"] == [*v1.field_violations_of(caught.value)]


def test_all_wrong_fields_are_told_at_once(counted: Any) -> None:
    """Several wrong fields: one BadRequest with each of them, under FIELD_INVALID."""
    stub, _ = counted
    _, request = add(Source(content=b"x"), "", class_id1=0, class_id2=99999, duplicate_policy=5)
    with pytest.raises(grpc.RpcError) as caught:
        stub.AddImage(request)
    assert {
        "new_image.image.content",
        "new_image.brief",
        "new_image.class_id1",
        "new_image.class_id2",
        "duplicate_policy",
    } == {*v1.field_violations_of(caught.value)}
    assert R.FIELD_INVALID == v1.reason_of(caught.value)


def test_a_bad_bulk_item_fails_alone(facade: FacadeFactory, engine: Engine) -> None:
    """A wrong item gets the status that AddImage would have failed with; the others are added."""
    stub = facade(library_of(engine))
    items = {
        "good": NewImage(image=GOOD, brief="b"),
        "bad": NewImage(image=Source(content=b"x"), brief="b"),
        "": NewImage(image=GOOD, brief="b"),
    }
    stream = stub.BulkAddImages(
        v1.BulkAddImagesRequest(item=v1.BulkAddImagesRequest.Item(key=key, new_image=new_image))
        for key, new_image in items.items()
    )
    *results, last = stream
    by_key = {message.result.key: message.result for message in results}
    assert v1.AddOutcome.ADD_OUTCOME_CREATED == by_key["good"].added.outcome
    assert R.IMAGE_UNREADABLE == v1.reason_of(by_key["bad"].error)
    assert ["new_image.image.content"] == [*v1.field_violations_of(by_key["bad"].error)]
    assert ["key"] == [*v1.field_violations_of(by_key[""].error)]
    summary = last.summary
    assert (3, 1, 0, 2) == (
        summary.received_count,
        summary.added_count,
        summary.duplicate_count,
        summary.failed_count,
    )


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        (
            [v1.BulkAddImagesRequest(settings={"duplicate_policy": 9})],  # type: ignore[arg-type]
            "settings.duplicate_policy",
        ),
        ([v1.BulkAddImagesRequest(settings={}), v1.BulkAddImagesRequest(settings={})], "settings"),
        ([v1.BulkAddImagesRequest()], "item"),
    ],
    ids=["policy", "settings twice", "no part"],
)
def test_a_wrong_bulk_stream_fails_as_a_whole(messages: Any, field: str, counted: Any) -> None:
    """Wrong settings, settings in the middle, a message without a part: FIELD_INVALID."""
    stub, _ = counted
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.BulkAddImages(iter(messages)))
    assert R.FIELD_INVALID == v1.reason_of(caught.value)
    assert [field] == [*v1.field_violations_of(caught.value)]


@pytest.mark.asyncio
async def test_the_bound_on_encoded_bytes_is_exact() -> None:
    """The longest image within 4 MiB encoded passes; three bytes more are refused."""
    encoder = FormEncoder()
    base = jpeg(1)
    base += b"\x00" * (-len(base) % 3)
    room = limits.IMAGE_ENCODED_BYTES_MAX - len(form_value_of(base))
    largest = base + b"\x00" * (3 * (room // 4))  # three zero bytes become AAAA, unescaped
    assert limits.IMAGE_ENCODED_BYTES_MAX - 4 < len(form_value_of(largest))
    assert form_value_of(largest) == b"".join(await encoder.form_value(largest, fits=False))
    with pytest.raises(SizeInvalid):
        await encoder.form_value(largest + b"\x00" * 3, fits=False)
    encoder.close()
