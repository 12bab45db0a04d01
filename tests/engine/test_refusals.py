"""Bad input for each field of each call: the documented code, and nothing changed."""

from __future__ import annotations

import base64
import gzip
import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.calling import Caller, code_of, image_field, signs_of
from tests.engine.image_files import draw, encoded, jpeg, png_claiming

GOOD = image_field(jpeg(1))
ADD, SEARCH = {"brief": "x", "image": GOOD}, {"image": GOOD}
UPDATE, DELETE = {"cont_sign": "1,2", "brief": "x"}, {"cont_sign": "1,2"}

PNG = encoded(draw(1), "PNG")
BAD_IMAGES = (
    ("", 216200),
    ("data:image/jpeg;base64," + GOOD, 216201),
    (GOOD.replace("/", "%2F"), 216201),
    ("*" + GOOD, 216203),
    (GOOD[:401], 216203),
    (GOOD + "=", 216203),
    (GOOD[:400] + "\n" + GOOD[400:], 216203),
    (image_field(b"no image at all"), 216201),
    (image_field(encoded(draw(1), "GIF")), 216201),
    (image_field(encoded(draw(1), "WEBP")), 216201),
    (image_field(encoded(draw(1), "TIFF")), 216201),
    (image_field(jpeg(1, (299, 400))), 216202),
    (image_field(jpeg(1, (4097, 300))), 216202),
    (image_field(png_claiming(30000, 30000)), 216202),
    (image_field(png_claiming(0, 300)), 216201),
    # As in apps for iPhones.
    (image_field(PNG[:8] + b"\0\0\0\4CgBI\x50\0\x20\6\x2b\xd5\xb3\x9b" + PNG[8:]), 216201),
)
"""Values of ``image``, and the code of each, whatever the call."""

CASES: list[tuple[str, dict[str, Any], dict[str, Any], int]] = [
    ("add", ADD, {"brief": None}, 216101),
    ("add", ADD, {"brief": "x" * 257}, 216103),
    ("add", ADD, {"brief": "é" * 129}, 216103),
    ("add", ADD, {"brief": "苹果".encode("gbk")}, 216100),
    ("update", UPDATE, {"brief": "x" * 257}, 216103),
    ("update", UPDATE, {"brief": b"\xff"}, 216100),
    ("add", ADD, {"image": None}, 216101),
    ("search", SEARCH, {"image": None}, 216101),
    ("update", UPDATE, {"cont_sign": None}, 216101),
    ("delete", DELETE, {"cont_sign": None}, 216101),
    ("search", SEARCH, {"tag_logic": "2"}, 216100),
    ("search", SEARCH, {"tag_logic": ""}, 216100),
    *[("search", SEARCH, {"pn": bad}, 216100) for bad in ("-1", "x", "", "1.5", "1" * 11)],
    *[("search", SEARCH, {"rn": bad}, 216100) for bad in ("-1", "x", "", "0", "٣")],
    *[
        (method, good, {name: bad}, 216100)
        for method, good in (("add", ADD), ("search", SEARCH), ("update", UPDATE))
        for name in ("class_id1", "class_id2")
        for bad in ("0", "65536", "-1", "x", "")
    ],
    *[
        (method, good, {"cont_sign": bad}, 216100)
        for method, good in (("update", UPDATE), ("delete", DELETE))
        for bad in (
            "",
            "1",
            "1,",
            "1,2,3",
            "4294967296,1",
            "1,-2",
            "1;2",
            "a,b",
            ";",
            "1,2;;",
            ";1,2",
        )
    ],
    ("update", UPDATE, {"cont_sign": "1,2;3,4"}, 216100),
    *[
        (method, {"brief": "x"}, {"image": bad}, code)
        for method in ("add", "search", "update", "delete")
        for bad, code in BAD_IMAGES
    ],
    *[
        (method, {"brief": "x"}, {"image": image_field(bad)}, 216201)
        for method in ("add", "search")
        for bad in (
            jpeg(1)[:-200],
            encoded(draw(1), "PNG")[:-4000],
            encoded(draw(1), "BMP")[:-4000],
            png_claiming(400, 400),
            encoded(draw(1), "PNG").replace(b"IDAT", b"IDAX"),
        )
    ],
    *[
        (method, {"brief": "x"}, {"url": bad}, code)
        for method in ("add", "search", "update", "delete")
        for bad, code in (
            ("", 282114),
            ("http://a.example/" + "x" * 1024, 282114),
            ("ftp://a.example/x.jpg", 282111),
            ("file:///etc/passwd", 282111),
            ("a.example/x.jpg", 282111),
            ("http://", 282111),
            ("http://user:secret@a.example/", 282111),
            ("http://a.example:99999/", 282111),
            ("http://[::1/", 282111),
            ("http://a.example/\r\nX: y", 282111),
            (b"http://a.example/\xff", 282111),
            ("http://127.0.0.1/x.jpg", 282113),
            ("http://localhost/x.jpg", 282113),
            ("http://nowhere.invalid/x.jpg", 282113),
        )
    ],
]


def _name(case: tuple[str, dict[str, Any], dict[str, Any], int]) -> str:
    method, _, changes, code = case
    shown = ",".join(f"{name}={str(value)[:24]!r}" for name, value in changes.items())
    return f"{method}-{shown}-{code}"


@pytest.mark.parametrize(("method", "good", "changes", "code"), CASES, ids=map(_name, CASES))
def test_bad_field(
    shared_caller: Caller, method: str, good: dict[str, Any], changes: dict[str, Any], code: int
) -> None:
    """The field is refused with its code and a log_id, and nothing is stored."""
    form = {name: value for name, value in (good | changes).items() if value is not None}
    answer = shared_caller.answer(method, data=form)
    assert code == answer["error_code"]
    assert {"log_id", "error_code", "error_msg"} == answer.keys()
    assert [] == signs_of(shared_caller.call("search", image=jpeg(1)))


@pytest.mark.parametrize(
    ("method", "form", "name"),
    [
        ("add", {"image": GOOD}, "brief"),
        ("add", {"brief": "x"}, "image"),
        ("search", {}, "image"),
        ("update", {"brief": "x"}, "cont_sign"),
        ("delete", {}, "cont_sign"),
    ],
)
def test_missing_field_is_named(
    shared_caller: Caller, method: str, form: dict[str, str], name: str
) -> None:
    """The message of a missing field names it."""
    assert f"param {name} not exist" == shared_caller.answer(method, data=form)["error_msg"]


def test_four_mebibytes_after_urlencoding(new_caller: Callable[..., Caller]) -> None:
    """The size bound is on the urlencoded value, however the form is sent."""
    caller = new_caller()
    # Bytes whose base64 is all slashes treble when they are urlencoded.
    slashes = jpeg(1) + b"\xff" * 1_000_000
    assert 0 == code_of(caller.call("add", image=slashes, brief="x"))
    heavy = jpeg(2) + b"\xff" * 1_060_000
    assert 216202 == code_of(caller.call("add", image=heavy, brief="x"))
    raw = {"image": (None, image_field(heavy)), "brief": (None, "x")}
    assert 216202 == code_of(caller.answer("add", files=raw))
    large = jpeg(3) + bytes(2_900_000)
    assert 0 == code_of(caller.call("add", image=large, brief="x"))


def test_body_past_its_bound(shared_caller: Caller) -> None:
    """A body of 6 or 60 MB is answered, not cut off: 216202, whether announced or chunked."""
    for size in (6 << 20, 60 << 20):
        body = b"image=" + b"A" * size
        assert 216202 == code_of(shared_caller.answer("search", data=body))
        assert 216202 == code_of(shared_caller.answer("search", data=iter([body[:size], b"A"])))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data; boundary=x", b"--x\r\ngarbage"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n--x--\r\nno head"),
        ("multipart/form-data", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=" + "x" * 999, b"--x"),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % n for n in range(65))),
        ("application/x-www-form-urlencoded", b"&" * (4 << 20)),
        (
            "multipart/form-data; boundary=x",
            b"".join(
                b'--x\r\nContent-Disposition: form-data; name="a%d"\r\n\r\n1\r\n' % n
                for n in range(65)
            )
            + b"--x--\r\n",
        ),
    ],
)
def test_unreadable_body(shared_caller: Caller, kind: str, body: bytes) -> None:
    """A broken body, or one of more than 64 fields, is 216100."""
    answer = shared_caller.answer("search", data=body, headers={"Content-Type": kind})
    assert 216100 == answer["error_code"]


@pytest.mark.parametrize("seed", range(20))
def test_random_bodies(shared_caller: Caller, seed: int) -> None:
    """Random bytes get a documented answer."""
    body = gzip.compress(os.urandom(seed * 50)) + b"&image=" + base64.b64encode(os.urandom(300))
    assert code_of(shared_caller.answer("search", data=body)) in (216100, 216201, 216101)
