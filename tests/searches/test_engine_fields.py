"""``region``, ``rerank`` and ``subject``: for libraries of the engine, never for the vendor's."""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import parse_qs

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from productsearch import v1
from tests.conftest import FacadeFactory
from tests.fakes.upstream import FakeUpstream, search_answer
from tests.pictures import jpeg

IMAGE = v1.ImageSource(content=jpeg(1))
RIGHT = v1.Region(left=0.5, top=0, width=0.5, height=1)
LEFT = v1.Region(left=0, top=0, width=0.5, height=1)
ENGINE = {"upstream": "engine"}
SUBJECT = {"left": 0.1, "top": 0.2, "width": 0.3, "height": 0.4}

inside = st.floats(0, 1, exclude_max=True)


@pytest.fixture
def engine_stub(facade: FacadeFactory) -> v1.ProductSearchStub:
    """Return a stub of a facade whose library says that its upstream is the engine."""
    return facade(ENGINE)


def add_of(**fields: Any) -> v1.AddImageRequest:
    return v1.AddImageRequest(new_image=v1.NewImage(image=IMAGE, brief="b", **fields))


def search_of(**fields: Any) -> v1.SearchImagesRequest:
    return v1.SearchImagesRequest(image=IMAGE, **fields)


FOREIGN: dict[str, tuple[str, Any, str]] = {
    "region of a search": ("SearchImages", search_of(region=RIGHT), "region"),
    "an empty region": ("SearchImages", search_of(region=v1.Region()), "region"),
    "rerank": ("SearchImages", search_of(rerank=True), "rerank"),
    "rerank, no": ("SearchImages", search_of(rerank=False), "rerank"),
    "region of an add": ("AddImage", add_of(region=RIGHT), "new_image.region"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_the_vendor_takes_neither(
    case: str, stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """A library is the vendor's unless it says otherwise: FIELD_INVALID, and no call."""
    method, request, field = FOREIGN[case]
    with pytest.raises(grpc.RpcError) as caught:
        getattr(stub, method)(request)
    assert v1.ErrorReason.FIELD_INVALID == v1.reason_of(caught.value)
    assert [field] == [*v1.field_violations_of(caught.value)]
    assert [] == upstream.calls


def test_the_vendor_takes_no_region_in_a_stream(
    stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """A bulk item with a region fails alone."""
    items = [
        v1.BulkAddImagesRequest.Item(
            key=key, new_image=v1.NewImage(image=IMAGE, brief="b", region=region)
        )
        for key, region in (("with", RIGHT), ("without", None))
    ]
    answers = stub.BulkAddImages(iter([v1.BulkAddImagesRequest(item=item) for item in items]))
    results = {each.result.key: each.result for each in answers if each.HasField("result")}
    assert ["new_image.region"] == [*v1.field_violations_of(results["with"].error)]
    assert results["without"].HasField("added")
    assert 1 == len(upstream.calls)


@pytest.mark.parametrize(
    ("method", "request_", "form"),
    [
        ("SearchImages", search_of(region=RIGHT), {"region": ["0.5,0.0,0.5,1.0"]}),
        ("SearchImages", search_of(rerank=True), {"rerank": ["1"]}),
        ("SearchImages", search_of(rerank=False), {"rerank": ["0"]}),
        ("SearchImages", search_of(), {}),
        ("AddImage", add_of(region=LEFT), {"region": ["0.0,0.0,0.5,1.0"]}),
        ("AddImage", add_of(), {}),
    ],
)
def test_the_engine_gets_form_fields(
    method: str,
    request_: Any,
    form: dict[str, list[str]],
    engine_stub: v1.ProductSearchStub,
    upstream: FakeUpstream,
) -> None:
    """What is set is sent, what is unset is not."""
    getattr(engine_stub, method)(request_)
    sent = parse_qs(upstream.calls[0].body.decode())
    assert form == {name: sent[name] for name in ("region", "rerank") if name in sent}


@given(left=inside, top=inside, width=inside, height=inside)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_region_is_sent_or_refused(
    left: float,
    top: float,
    width: float,
    height: float,
    engine_stub: v1.ProductSearchStub,
    upstream: FakeUpstream,
) -> None:
    """A rectangle in the image arrives as the same four numbers; any other names its fields."""
    calls = len(upstream.calls)
    wrong = {
        f"region.{name}"
        for name, start, size in (("width", left, width), ("height", top, height))
        if size <= 0 or start + size > 1 + 1e-6
    }
    region = v1.Region(left=left, top=top, width=width, height=height)
    try:
        engine_stub.SearchImages(search_of(region=region))
    except grpc.RpcError as error:
        assert wrong == {*v1.field_violations_of(error)}
        assert calls == len(upstream.calls)
    else:
        assert set() == wrong
        sent = parse_qs(upstream.calls[-1].body.decode())["region"][0]
        assert [left, top, width, height] == [float(part) for part in sent.split(",")]


@pytest.mark.parametrize("value", [-0.1, 1.0, 2.0, float("nan"), float("inf")])
@pytest.mark.parametrize("field", ["left", "top", "width", "height"])
def test_numbers_out_of_range_are_named(
    field: str, value: float, engine_stub: v1.ProductSearchStub
) -> None:
    """Of an otherwise sound region the wrong number is named; a whole side may be 1."""
    good = {"left": 0.0, "top": 0.0, "width": 0.5, "height": 0.5}
    request = add_of(region=v1.Region(**good | {field: value}))
    if value == 1.0 and field in ("width", "height"):
        engine_stub.AddImage(request)
        return
    with pytest.raises(grpc.RpcError) as caught:
        engine_stub.AddImage(request)
    assert f"new_image.region.{field}" in v1.field_violations_of(caught.value)


def test_the_engines_subject_is_told(
    facade: FacadeFactory, stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """The engine's subject is in the response; the vendor's, whatever it means, is not."""
    upstream.always("search", search_answer(("1,2", 0.9, "b")) | {"subject": SUBJECT})
    assert v1.Region(**SUBJECT) == facade(ENGINE).SearchImages(search_of()).subject
    assert not stub.SearchImages(search_of()).HasField("subject")


@pytest.mark.parametrize(
    "subject",
    [
        *(None, "left", [0, 0, 1, 1], {}, SUBJECT | {"left": -1}, SUBJECT | {"top": 1.5}),
        *(SUBJECT | {"width": True}, SUBJECT | {"height": "x"}, {"left": 0.1, "top": 0.1}),
    ],
)
def test_a_subject_that_is_none_is_left_out(
    subject: object, engine_stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """The results count; a subject that cannot be read is no reason to lose them."""
    upstream.always("search", search_answer(("1,2", 0.9, "b")) | {"subject": subject})
    response = engine_stub.SearchImages(search_of())
    assert (1, False) == (len(response.results), response.HasField("subject"))


DIFFERENT = [
    search_of(),
    search_of(region=LEFT),
    search_of(region=RIGHT),
    search_of(rerank=True),
    search_of(rerank=False),
    search_of(region=LEFT, rerank=True),
]


def test_other_fields_are_other_searches(facade: FacadeFactory, upstream: FakeUpstream) -> None:
    """A cached page answers the search with the same region and rerank, and no other."""
    stub = facade(ENGINE | {"search_cache_ttl_s": 60})
    for request in DIFFERENT * 2:
        stub.SearchImages(request)
    assert len(DIFFERENT) == len(upstream.calls)


def test_page_tokens_belong_to_the_region(
    engine_stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """A page token of a search with another region or rerank is PAGE_TOKEN_INVALID."""
    upstream.always("search", search_answer(("1,2", 0.9, "b"), has_more=True))
    tokens = [engine_stub.SearchImages(request).next_page_token for request in DIFFERENT]
    for made, token in enumerate(tokens):
        for used, request in enumerate(DIFFERENT):
            following = v1.SearchImagesRequest()
            following.CopyFrom(request)
            following.page_token = token
            if used == made:
                engine_stub.SearchImages(following)
                continue
            with pytest.raises(grpc.RpcError) as caught:
                engine_stub.SearchImages(following)
            assert v1.ErrorReason.PAGE_TOKEN_INVALID == v1.reason_of(caught.value)


def _halves(left: int, right: int) -> bytes:
    sheet = Image.new("RGB", (800, 400))
    for place, seed in enumerate((left, right)):
        sheet.paste(Image.open(io.BytesIO(jpeg(seed))).resize((400, 400)), (400 * place, 0))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def test_the_real_engine_looks_at_the_region(over_engine: v1.ProductSearchStub) -> None:
    """Of an image with two products the one in the region is found; it is the subject."""
    for seed in (1, 2):
        new = v1.NewImage(image=v1.ImageSource(content=jpeg(seed)), brief=str(seed))
        over_engine.AddImage(v1.AddImageRequest(new_image=new))
    both = v1.ImageSource(content=_halves(1, 2))
    for seed, region in ((1, LEFT), (2, RIGHT)):
        response = over_engine.SearchImages(v1.SearchImagesRequest(image=both, region=region))
        assert str(seed) == response.results[0].brief
        assert region == response.subject
    assert over_engine.SearchImages(v1.SearchImagesRequest(image=both)).HasField("subject")
