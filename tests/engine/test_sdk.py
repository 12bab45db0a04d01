"""The vendor's own Python SDK works against the engine, unmodified but for its URLs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from demo.processes import Engine
from tests.engine.calling import CALLS, Caller, code_of
from tests.engine.image_files import jpeg

with warnings.catch_warnings():
    # The SDK's sources hold escapes that Python warns about when it compiles them.
    warnings.simplefilter("ignore", DeprecationWarning)
    from aip import AipImageSearch


@pytest.fixture
def sdk(engine: Engine, caller: Caller) -> Iterator[Any]:
    """The SDK's client of a new library."""
    client = AipImageSearch("1", caller.api_key, caller.secret_key)
    client._AipBase__accessTokenUrl = engine.url + "/oauth/2.0/token"
    for method in ("add", "search", "update", "delete"):
        name = f"_AipImageSearch__product{method.capitalize()}Url"
        setattr(client, name, engine.url + CALLS + method)
    yield client
    client.s.close()


def test_add_and_search(sdk: Any) -> None:
    """An added image is found with its brief, itself first, score 1."""
    first = sdk.productAdd(jpeg(1), '{"name":"Apfel","id":"ü"}')
    sdk.productAdd(jpeg(2), "two")
    found = sdk.productSearch(jpeg(1))
    assert 2 == found["result_num"] == len(found["result"])
    assert first["cont_sign"] == found["result"][0]["cont_sign"]
    assert '{"name":"Apfel","id":"ü"}' == found["result"][0]["brief"]
    assert pytest.approx(1, abs=1e-3) == found["result"][0]["score"]
    assert found["result"][1]["score"] < found["result"][0]["score"]
    assert found["has_more"] is False


def test_duplicate_add(sdk: Any) -> None:
    """A second add of an image is refused with the first one's sign; its brief is not taken."""
    first = sdk.productAdd(jpeg(1), "first")
    again = sdk.productAdd(jpeg(1), "second")
    assert (216681, "item has existed") == (again["error_code"], again["error_msg"])
    assert first["cont_sign"] == again["cont_sign"]
    assert ["first"] == [hit["brief"] for hit in sdk.productSearch(jpeg(1))["result"]]


def test_filtered_search(sdk: Any) -> None:
    """Two class ids are joined with AND, or with OR when tag_logic says so."""
    for number, classes in enumerate([(1, 1), (1, 2), (2, 2), (3, 3)]):
        options = {"class_id1": classes[0], "class_id2": classes[1]}
        sdk.productAdd(jpeg(number), str(number), options)

    def briefs(**options: Any) -> set[str]:
        return {hit["brief"] for hit in sdk.productSearch(jpeg(9), options)["result"]}

    assert {"0", "1"} == briefs(class_id1=1)
    assert {"1", "2"} == briefs(class_id2=2)
    assert {"1"} == briefs(class_id1=1, class_id2=2)
    assert {"1"} == briefs(class_id1=1, class_id2=2, tag_logic="0")
    assert {"0", "1", "2"} == briefs(class_id1=1, class_id2=2, tag_logic="1")
    assert {"0", "1"} == briefs(class_id1=1, tag_logic="1")


def test_update(sdk: Any) -> None:
    """An update by image or by sign changes the brief."""
    added = sdk.productAdd(jpeg(1), "old")
    assert {"log_id"} == sdk.productUpdate(jpeg(1), {"brief": "newer"}).keys()
    assert "newer" == sdk.productSearch(jpeg(1))["result"][0]["brief"]
    assert {"log_id"} == sdk.productUpdateContSign(added["cont_sign"], {"brief": "newest"}).keys()
    assert "newest" == sdk.productSearch(jpeg(1))["result"][0]["brief"]


def test_delete(sdk: Any) -> None:
    """An image deleted by image or by sign is gone at once, and can be added again at once."""
    added = sdk.productAdd(jpeg(1), "x")
    assert {"log_id"} == sdk.productDeleteByImage(jpeg(1)).keys()
    assert 0 == sdk.productSearch(jpeg(1))["result_num"]
    again = sdk.productAdd(jpeg(1), "y")
    assert added["cont_sign"] == again["cont_sign"]
    assert {"log_id"} == sdk.productDeleteBySign(again["cont_sign"]).keys()
    assert 216680 == code_of(sdk.productDeleteBySign(again["cont_sign"]))


def test_batch_delete(sdk: Any) -> None:
    """Signs joined with semicolons are deleted in one call."""
    added = [sdk.productAdd(jpeg(seed), str(seed))["cont_sign"] for seed in range(3)]
    assert 0 == code_of(sdk.productDeleteBySign(";".join(added[:2])))
    assert ["2"] == [hit["brief"] for hit in sdk.productSearch(jpeg(0))["result"]]
