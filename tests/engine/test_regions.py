"""Where the product is: the field ``region`` of a request and ``subject`` of an answer."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from tests.embedding.drawn import PRODUCTS, package
from tests.engine.calling import Caller, code_of
from tests.engine.image_files import jpeg

RIGHT_HALF = "0.5,0,0.5,1"

WRONG = [
    *("", "0,0,1", "0,0,1,1,1", "a,0,1,1", "nan,0,1,1", "0,0,1,nan", "0,0,1,inf", "0,0,1,1e400"),
    *("-0.1,0,1,1", "0.5,0,0.6,1", "0,0.5,1,0.6", "0,0,0,1", "0,0,1,0", "\u0661,0,1,1"),
    "0," * 100_000 + "1",
]


def beside(left: int, right: int) -> bytes:
    """Return an image of two products, one in each half."""
    image = Image.new("RGB", (600, 400), (225, 225, 220))
    for place, product in enumerate((left, right)):
        image.paste(package(*PRODUCTS[product]), (80 + 300 * place, 90))
    return png(image)


def alone(product: int) -> bytes:
    """Return an image of one product, as each half of ``beside`` is."""
    image = Image.new("RGB", (300, 400), (225, 225, 220))
    image.paste(package(*PRODUCTS[product]), (80, 90))
    return png(image)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("half", [0, 1])
def test_a_search_looks_at_its_region(caller: Caller, half: int) -> None:
    """Of an image with two products the one in the region is found first, nearly as itself."""
    products = (1, 16)
    for product in products:
        caller.call("add", image=alone(product), brief=str(product))
    image, region = beside(*products), f"{half / 2},0,0.5,1"
    result = caller.call("search", image=image, region=region)["result"]
    assert str(products[half]) == result[0]["brief"]
    assert result[0]["score"] > 0.9


def test_an_add_looks_at_its_region(caller: Caller) -> None:
    """An image that was added with a region is found as what is in the region."""
    caller.call("add", image=beside(1, 16), brief="two", region=RIGHT_HALF)
    assert caller.call("search", image=alone(16))["result"][0]["score"] > 0.9
    assert caller.call("search", image=alone(1))["result"][0]["score"] < 0.9


@pytest.mark.parametrize("method", ["add", "search"])
@pytest.mark.parametrize("region", WRONG)
def test_a_region_outside_the_image_is_refused(caller: Caller, method: str, region: str) -> None:
    """A region that is no box of the image is 216100, and nothing is added."""
    fields = {"brief": "x"} if method == "add" else {}
    assert 216100 == code_of(caller.call(method, image=jpeg(1), region=region, **fields))
    assert 0 == caller.call("search", image=jpeg(1))["result_num"]


def test_classic_knows_no_subject(caller: Caller) -> None:
    """An answer has no field ``subject`` if the library's embedding looks for none."""
    assert "subject" not in caller.call("add", image=jpeg(1), brief="x")
    assert "subject" not in caller.call("search", image=jpeg(2))


def test_compact_says_where_the_product_is(compact_caller: Caller) -> None:
    """The box of an add and of a search lies in the image, around the product."""
    image = Image.new("RGB", (600, 400), (225, 225, 220))
    image.paste(package(*PRODUCTS[1]), (420, 90))
    added = compact_caller.call("add", image=png(image), brief="x")
    found = compact_caller.call("search", image=png(image))
    assert added["subject"] == found["subject"]
    box = added["subject"]
    assert {"left", "top", "width", "height"} == box.keys()
    assert box["left"] > 0.3
    assert box["left"] <= 0.8 <= box["left"] + box["width"] <= 1.0001
    assert box["top"] <= 0.5 <= box["top"] + box["height"] <= 1.0001
    assert 1.0 == found["result"][0]["score"]
