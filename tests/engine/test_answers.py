"""What each call answers and changes, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.engine.calling import CALLS, Caller, code_of, image_field, signs_of
from tests.engine.image_files import jpeg


def fill(caller: Caller, number: int) -> list[str]:
    """Add images 0 to ``number`` and return their signs."""
    return [
        caller.call("add", image=jpeg(seed), brief=str(seed))["cont_sign"] for seed in range(number)
    ]


def test_answers_have_the_contracts_keys(caller: Caller) -> None:
    """Every answer has exactly the contract's keys, and a log_id of 18 or 19 digits."""
    added = caller.call("add", image=jpeg(1), brief="x")
    assert {"log_id", "cont_sign"} == added.keys()
    high, low = added["cont_sign"].split(",")
    assert 0 <= int(high) < 2**32
    assert 0 <= int(low) < 2**32
    found = caller.call("search", image=jpeg(1))
    assert {"log_id", "result_num", "result", "has_more"} == found.keys()
    assert {"cont_sign", "score", "brief"} == found["result"][0].keys()
    again = caller.call("add", image=jpeg(1), brief="x")
    assert {"log_id", "error_code", "error_msg", "cont_sign"} == again.keys()
    assert {"log_id"} == caller.call("update", image=jpeg(1), brief="y").keys()
    deleted = caller.call("delete", image=jpeg(1))
    assert {"log_id"} == deleted.keys()
    for body in (added, found, again, deleted):
        assert isinstance(body["log_id"], int)
        assert 10**17 <= body["log_id"] < 2**63


@pytest.mark.parametrize(
    "brief",
    ["", "a=b&c=d+e%20f", '{"名":"苹果 🍎"}', "nul\0 tab\t line\n", "é" * 128, "\u2028\\\"'"],
)
def test_brief_is_returned_verbatim(caller: Caller, brief: str) -> None:
    """Any UTF-8 text of 256 bytes or less comes back as it was sent."""
    caller.call("add", image=jpeg(1), brief=brief)
    assert brief == caller.call("search", image=jpeg(1))["result"][0]["brief"]


def test_sign_depends_on_the_image_alone(new_caller: Callable[..., Caller]) -> None:
    """Two libraries give one image the same sign, and two images different ones."""
    one, other = new_caller(), new_caller()
    assert fill(one, 2) == fill(other, 2)
    assert 2 == len(set(fill(new_caller(), 2)))


def test_libraries_do_not_see_each_other(new_caller: Callable[..., Caller]) -> None:
    """An image is found, changed and deleted in its own library alone."""
    one, other = new_caller(), new_caller()
    (sign,) = fill(one, 1)
    assert [] == signs_of(other.call("search", image=jpeg(0)))
    assert 216680 == code_of(other.call("update", cont_sign=sign, brief="x"))
    assert 216680 == code_of(other.call("delete", cont_sign=sign))
    assert [sign] == signs_of(one.call("search", image=jpeg(0)))


def test_sixty_four_identical_adds(caller: Caller) -> None:
    """Of 64 equal adds at once one is stored, and all are told its sign."""

    def add(number: int) -> dict[str, object]:
        response = requests.post(
            caller.url + CALLS + "add",
            params={"access_token": caller.token},
            data={"image": image, "brief": str(number)},
            timeout=60,
        )
        body: dict[str, object] = response.json()
        return body

    image = image_field(jpeg(1))
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(add, range(64)))
    assert [0] + [216681] * 63 == sorted(code_of(answer) for answer in answers)
    assert 1 == len({answer["cont_sign"] for answer in answers})
    assert 1 == caller.call("search", image=jpeg(1))["result_num"]


def test_results_are_sorted(caller: Caller) -> None:
    """Scores are floats from 0 to 1 and never rise along a result."""
    fill(caller, 30)
    found = caller.call("search", image=jpeg(3))["result"]
    scores = [hit["score"] for hit in found]
    assert 30 == len(scores)
    assert sorted(scores, reverse=True) == scores
    assert all(isinstance(score, float) and 0 <= score <= 1 for score in scores)


def test_pages(caller: Caller) -> None:
    """Pages follow each other without overlap or gap, and has_more says whether one follows."""
    signs = fill(caller, 7)
    pages = [
        caller.call("search", image=jpeg(0), pn=str(start), rn="3") for start in (0, 3, 6, 7, 900)
    ]
    assert [3, 3, 1, 0, 0] == [page["result_num"] for page in pages]
    assert [True, True, False, False, False] == [page["has_more"] for page in pages]
    together = [sign for page in pages for sign in signs_of(page)]
    assert sorted(signs) == sorted(together)
    assert together == signs_of(caller.call("search", image=jpeg(0)))
    assert not caller.call("search", image=jpeg(0), pn="4", rn="3")["has_more"]


def test_what_reaches_past_the_window_is_cut(caller: Caller) -> None:
    """pn and rn past 1000 are cut there instead of being refused."""
    fill(caller, 2)
    assert 2 == caller.call("search", image=jpeg(0), rn="5000")["result_num"]
    past = caller.call("search", image=jpeg(0), pn="1000", rn="10")
    assert (0, False) == (past["result_num"], past["has_more"])
    assert 0 == caller.call("search", image=jpeg(0), pn="999999")["result_num"]


def test_update_changes_only_what_is_sent(caller: Caller) -> None:
    """Brief and class ids are kept unless they are sent."""
    sign = caller.call("add", image=jpeg(1), brief="b", class_id1="1", class_id2="2")["cont_sign"]

    def found(class_id1: str, class_id2: str) -> list[str]:
        body = caller.call("search", image=jpeg(1), class_id1=class_id1, class_id2=class_id2)
        return [hit["brief"] for hit in body["result"]]

    caller.call("update", cont_sign=sign, class_id1="7")
    assert ["b"] == found("7", "2")
    caller.call("update", cont_sign=sign, class_id2="65535")
    assert ["b"] == found("7", "65535")
    caller.call("update", cont_sign=sign, brief="")
    assert [""] == found("7", "65535")


def test_update_with_nothing_to_change(caller: Caller) -> None:
    """It succeeds if the image is there, changes nothing, and is 216680 otherwise."""
    sign = caller.call("add", image=jpeg(1), brief="b")["cont_sign"]
    assert 0 == code_of(caller.call("update", cont_sign=sign))
    assert "b" == caller.call("search", image=jpeg(1))["result"][0]["brief"]
    assert 216680 == code_of(caller.call("update", cont_sign="1,2"))
    assert 216680 == code_of(caller.call("update", image=jpeg(2), brief="x"))


def test_image_comes_before_sign(caller: Caller) -> None:
    """With both sent, update and delete are about the image."""
    first, second = fill(caller, 2)
    caller.call("update", image=jpeg(0), cont_sign=second, brief="changed")
    found = caller.call("search", image=jpeg(0))["result"]
    assert {first: "changed", second: "1"} == {hit["cont_sign"]: hit["brief"] for hit in found}
    caller.call("delete", image=jpeg(0), cont_sign=second)
    assert [second] == signs_of(caller.call("search", image=jpeg(0)))


def test_batch_with_unknown_signs(caller: Caller) -> None:
    """A batch with an unknown sign is 216680 and deletes nothing; a sign may be repeated."""
    first, second = fill(caller, 2)
    assert 216680 == code_of(caller.call("delete", cont_sign=f"1,2; {first} ;3,4;{first}"))
    assert {first, second} == {*signs_of(caller.call("search", image=jpeg(0)))}
    assert 0 == code_of(caller.call("delete", cont_sign=f" {first} ;{first}"))
    assert [second] == signs_of(caller.call("search", image=jpeg(0)))


def test_batch_of_a_hundred(caller: Caller) -> None:
    """A hundred signs are one call, also with a ``;`` at the end; one more is refused."""
    (sign,) = fill(caller, 1)
    others = [f"{number},{number}" for number in range(99)]
    assert 216100 == code_of(caller.call("delete", cont_sign=";".join([sign, *others, "7,7"])))
    assert [sign] == signs_of(caller.call("search", image=jpeg(0)))
    assert 216680 == code_of(caller.call("delete", cont_sign=";".join([*others, sign])))
    stored = fill(caller, 100)
    assert 0 == code_of(caller.call("delete", cont_sign=";".join(stored) + ";"))
    assert [] == signs_of(caller.call("search", image=jpeg(0)))


def test_unknown_fields_are_ignored(caller: Caller) -> None:
    """The update sample's ``tags`` and whatever else is sent do no harm, even if no UTF-8."""
    caller.call("add", image=jpeg(1), brief="x", tags="1,2")
    body = b"cont_sign=1,2&brief=y&\xff=\xff&tags=%ff&&a"
    assert 216680 == code_of(caller.answer("update", data=body))


def test_multipart(caller: Caller) -> None:
    """The vendor's PHP and C++ samples send multipart/form-data, some with a file name."""
    parts = {
        "image": ("image.txt", image_field(jpeg(1))),
        "brief": (None, "über & unter".encode()),
        "class_id1": (None, "5"),
    }
    assert 0 == code_of(caller.answer("add", files=parts))
    found = caller.call("search", image=jpeg(1), class_id1="5")
    assert ["über & unter"] == [hit["brief"] for hit in found["result"]]


def test_raw_bytes_in_a_form(caller: Caller) -> None:
    """The curl sample sends its brief and its base64 unescaped, without a content type."""
    image = next(jpeg(seed) for seed in range(99) if b"+" in image_field(jpeg(seed)).encode())
    body = f'image={image_field(image)}&brief={{"name":"苹果"}}'.encode()
    assert 0 == code_of(caller.answer("add", data=body, headers={"Content-Type": ""}))
    found = caller.call("search", image=image)["result"]
    assert ['{"name":"苹果"}'] == [hit["brief"] for hit in found]


def test_json_is_utf8(caller: Caller) -> None:
    """Answers are UTF-8 JSON with the text itself, not its escapes."""
    caller.call("add", image=jpeg(1), brief="苹果")
    response = requests.post(
        caller.url + CALLS + "search",
        params={"access_token": caller.token},
        data={"image": image_field(jpeg(1))},
        timeout=30,
    )
    assert "苹果".encode() in response.content
    assert "苹果" == json.loads(response.content)["result"][0]["brief"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", CALLS + "list"),
        ("POST", "/rest/2.0/image-classify/v1/realtime_search/similar/add"),
        ("POST", "/rest/2.0/"),
        ("POST", "/rest/2.0"),
        ("GET", CALLS + "add"),
    ],
)
def test_other_calls(shared_caller: Caller, method: str, path: str) -> None:
    """An API URL that is none of the four calls is error 3, HTTP 200."""
    answer = requests.request(
        method,
        shared_caller.url + path,
        params={"access_token": shared_caller.token},
        timeout=30,
    )
    assert (200, {"error_code": 3, "error_msg": "Unsupported openapi method"}) == (
        answer.status_code,
        answer.json(),
    )


def test_every_answer_is_counted(caller: Caller) -> None:
    """The metrics count each answer under its call and code: what was not sent is not there."""

    def count(method: str, code: int) -> float:
        text = requests.get(caller.url + "/metrics", timeout=30).text
        name = f'productsearch_engine_requests_total{{code="{code}",method="{method}"}} '
        return sum(float(line.removeprefix(name)) for line in text.splitlines() if name in line)

    before = count("add", 0), count("add", 216681), count("add", 216101)
    caller.call("add", image=jpeg(1), brief="x")
    caller.call("add", image=jpeg(1), brief="x")
    caller.call("add", image=jpeg(1))
    after = count("add", 0), count("add", 216681), count("add", 216101)
    assert [1, 1, 1] == [new - old for new, old in zip(after, before, strict=True)]


def test_health(shared_caller: Caller) -> None:
    """Health is 200 while the database answers."""
    assert 200 == requests.get(shared_caller.url + "/healthz", timeout=30).status_code
