"""Each RPC becomes the form call of the contract, compared byte by byte."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote_plus

import pytest

from productsearch import v1
from tests.fakes.upstream import FakeUpstream, error
from tests.pictures import jpeg

JPEG = jpeg(1)
IMAGE_FIELD = "image=" + quote_plus(base64.b64encode(JPEG))
URL = "https://shop.example/a b.jpg?x=1&y=ü".replace(" ", "%20")
URL_FIELD = "url=" + quote_plus(URL)
CONTENT = v1.ImageSource(content=JPEG)
ADDRESS = v1.ImageSource(url=URL)
BRIEF = '{"名":"红 苹果","n":1}\x00😀'
BRIEF_FIELD = (
    "brief=%7B%22%E5%90%8D%22%3A%22%E7%BA%A2+%E8%8B%B9%E6%9E%9C%22%2C%22n%22%3A1%7D%00%F0%9F%98%80"
)
BY_SIGN = v1.ImageRef(cont_sign="3001,4294967295")
Filter = v1.ClassFilter

CASES: dict[str, tuple[str, Any, str]] = {
    "add": (
        "AddImage",
        v1.AddImageRequest(new_image=v1.NewImage(image=CONTENT, brief=BRIEF)),
        f"{IMAGE_FIELD}&{BRIEF_FIELD}",
    ),
    "add by url with classes": (
        "AddImage",
        v1.AddImageRequest(
            new_image=v1.NewImage(image=ADDRESS, brief="b", class_id1=1, class_id2=65535)
        ),
        f"{URL_FIELD}&brief=b&class_id1=1&class_id2=65535",
    ),
    "search, defaults": (
        "SearchImages",
        v1.SearchImagesRequest(image=CONTENT),
        f"{IMAGE_FIELD}&pn=0&rn=300",
    ),
    "search, one class": (
        "SearchImages",
        v1.SearchImagesRequest(image=CONTENT, class_filter=Filter(class_id2=7)),
        f"{IMAGE_FIELD}&class_id2=7&tag_logic=0&pn=0&rn=300",
    ),
    "search, both classes": (
        "SearchImages",
        v1.SearchImagesRequest(
            image=ADDRESS,
            class_filter=Filter(class_id1=1, class_id2=2, operator=Filter.OPERATOR_AND),
        ),
        f"{URL_FIELD}&class_id1=1&class_id2=2&tag_logic=0&pn=0&rn=300",
    ),
    "search, either class, a page": (
        "SearchImages",
        v1.SearchImagesRequest(
            image=CONTENT,
            class_filter=Filter(class_id1=1, class_id2=2, operator=Filter.OPERATOR_OR),
            page_size=50,
            skip=20,
        ),
        f"{IMAGE_FIELD}&class_id1=1&class_id2=2&tag_logic=1&pn=20&rn=50",
    ),
    "search, cut at the window": (
        "SearchImages",
        v1.SearchImagesRequest(image=CONTENT, page_size=500, skip=900),
        f"{IMAGE_FIELD}&pn=900&rn=100",
    ),
    "update by sign": (
        "UpdateImage",
        v1.UpdateImageRequest(image_ref=BY_SIGN, brief=BRIEF),
        f"cont_sign=3001%2C4294967295&{BRIEF_FIELD}",
    ),
    "update by image, one class only": (
        "UpdateImage",
        v1.UpdateImageRequest(image_ref=v1.ImageRef(image=CONTENT), class_id2=9),
        f"{IMAGE_FIELD}&class_id2=9",
    ),
    "update by url, everything": (
        "UpdateImage",
        v1.UpdateImageRequest(
            image_ref=v1.ImageRef(image=ADDRESS), brief="b", class_id1=1, class_id2=2
        ),
        f"{URL_FIELD}&brief=b&class_id1=1&class_id2=2",
    ),
    "delete by sign": (
        "DeleteImage",
        v1.DeleteImageRequest(image_ref=BY_SIGN),
        "cont_sign=3001%2C4294967295",
    ),
    "delete by image": (
        "DeleteImage",
        v1.DeleteImageRequest(image_ref=v1.ImageRef(image=CONTENT)),
        IMAGE_FIELD,
    ),
    "delete by url": (
        "DeleteImage",
        v1.DeleteImageRequest(image_ref=v1.ImageRef(image=ADDRESS)),
        URL_FIELD,
    ),
    "batch delete": (
        "BatchDeleteImages",
        v1.BatchDeleteImagesRequest(cont_signs=["1,2", " 3,4 ", "1,2"]),
        "cont_sign=1%2C2%3B3%2C4",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_form_body(case: str, stub: v1.ProductSearchStub, upstream: FakeUpstream) -> None:
    """The body is the contract's, byte for byte, sent once as a form with the token."""
    method, request, body = CASES[case]
    getattr(stub, method)(request)
    (call,) = upstream.calls
    assert body.encode() == call.body
    assert "application/x-www-form-urlencoded" == call.headers["Content-Type"]
    assert "access_token=24.token-1" == call.query
    assert "POST" == call.verb


def test_bulk_items_are_plain_adds(stub: v1.ProductSearchStub, upstream: FakeUpstream) -> None:
    """Each item of a bulk stream is sent as the add that AddImage would send."""
    item = v1.BulkAddImagesRequest.Item(
        key="k", new_image=v1.NewImage(image=CONTENT, brief="b", class_id1=3)
    )
    assert 2 == len(list(stub.BulkAddImages(iter([v1.BulkAddImagesRequest(item=item)]))))
    (call,) = upstream.calls
    assert ("add", f"{IMAGE_FIELD}&brief=b&class_id1=3".encode()) == (call.method, call.body)


def test_update_policy_updates_the_stored_image(
    stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """A duplicate under DUPLICATE_POLICY_UPDATE becomes an update of the sign that is stored."""
    upstream.then("add", error(216681, "item has existed", cont_sign="5,6", log_id=9))
    response = stub.AddImage(
        v1.AddImageRequest(
            new_image=v1.NewImage(image=CONTENT, brief="new", class_id1=4),
            duplicate_policy=v1.DuplicatePolicy.DUPLICATE_POLICY_UPDATE,
        )
    )
    assert ["add", "update"] == [call.method for call in upstream.calls]
    assert b"cont_sign=5%2C6&brief=new&class_id1=4" == upstream.calls[1].body
    assert ("5,6", v1.AddOutcome.ADD_OUTCOME_UPDATED, 103) == (
        response.cont_sign,
        response.outcome,
        response.log_id,
    )


def test_token_is_fetched_by_a_posted_form(
    stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """The key pair travels in a form body, never in a URL."""
    stub.SearchImages(v1.SearchImagesRequest(image=CONTENT))
    token = upstream.received[0]
    assert ("POST", "token", "") == (token.verb, token.method, token.query)
    assert (
        b"grant_type=client_credentials&client_id=the-api-key&client_secret=the-secret-key"
        == token.body
    )


def test_a_batch_goes_in_groups_of_a_hundred(
    stub: v1.ProductSearchStub, upstream: FakeUpstream
) -> None:
    """250 signatures become three calls of at most 100, in order, each answered once."""
    signs = [f"{number},1" for number in range(250)]
    response = stub.BatchDeleteImages(v1.BatchDeleteImagesRequest(cont_signs=signs))
    sizes = [call.body.count(b"%3B") + 1 for call in upstream.calls]
    assert [100, 100, 50] == sizes
    assert signs == [result.cont_sign for result in response.results]
    assert 0 == response.failed_count
