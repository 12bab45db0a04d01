"""The form parser against the standard library's, and multipart bodies of every shape."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import example, given, seed
from hypothesis import strategies as st

from productsearch_engine.api import codes, forms
from productsearch_engine.api.codes import ApiError
from productsearch_engine.api.forms import Parts
from productsearch_engine.console import forms as console_forms
from productsearch_engine.console.refusal import Refusal
from productsearch_engine.limits import FIELDS_MAX, HEADER_OPTIONS_MAX

URLENCODED = "application/x-www-form-urlencoded"
# Bytes that mean something to a form, far more often than chance would have them.
telling = st.sampled_from([b"%", b"&", b"=", b"+", b"2", b"B", b"f", b"%2", b"%2B", b"%zz", b"\0"])
bodies = st.lists(telling | st.binary(max_size=4), max_size=40).map(b"".join)


@seed(20260701)
@given(bodies.filter(lambda body: body.count(b"&") < FIELDS_MAX))
@example(b"%")
@example(b"%4")
@example(b"a=%41%4")
@example(b"%%41=%%%41")
def test_urlencoded_as_the_standard_library(body: bytes) -> None:
    """Any bytes give the fields that urllib.parse.parse_qsl gives, the last of a name."""
    # As Latin-1, where every byte is one letter.
    pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    expected = {name.encode("latin-1"): value.encode("latin-1") for name, value in pairs}
    assert expected == forms.parse(URLENCODED, body)


@seed(20260701)
@given(st.dictionaries(st.binary(min_size=1), st.binary(), max_size=FIELDS_MAX))
def test_what_was_encoded_comes_back(fields: dict[bytes, bytes]) -> None:
    """Fields that urlencode wrote are read back."""
    assert fields == forms.parse("", urlencode(fields).encode())


@seed(20260701)
@given(bodies, st.sampled_from(["", URLENCODED, "multipart/form-data; boundary=x", ";=", "\xff"]))
def test_anything_is_read_or_refused(body: bytes, kind: str) -> None:
    """Whatever the bytes and the type are, there are fields or error 216100."""
    try:
        outcome: object = forms.parse(kind, body)
    except ApiError as error:
        outcome = error.code
    assert isinstance(outcome, dict) or codes.PARAM_INVALID == outcome


@seed(20260701)
@given(
    st.dictionaries(
        st.text("abc_0", min_size=1), st.binary().filter(lambda v: b"\r\n--edge" not in v)
    )
)
def test_multipart(fields: dict[str, bytes]) -> None:
    """Parts come back byte for byte, whatever is in them."""
    parts = [
        f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value
        for name, value in fields.items()
    ]
    body = b"\r\n".join([*parts, b"--edge--\r\n"])
    if not parts:
        body = b"--edge--\r\n"
    expected = {name.encode(): value for name, value in fields.items()}
    try:
        found = forms.parse('multipart/form-data; boundary="edge"', body)
    except ApiError:
        found = {}
        assert not parts
    assert expected == found


def test_headers_of_parts() -> None:
    """Other headers, letter case and file names do not matter; a part without name is skipped."""
    body = (
        b"--e\r\ncontent-type: text/plain\r\nCONTENT-DISPOSITION: form-data; filename=x;name=a"
        b"\r\nX: y\r\n\r\n1\r\n--e\r\nContent-Disposition: form-data\r\n\r\n2\r\n--e--"
    )
    assert {b"a": b"1"} == forms.parse("Multipart/Form-Data; boundary=e", body)


@pytest.mark.parametrize(
    ("parts", "refused"),
    [(FIELDS_MAX, False), (FIELDS_MAX + 1, True), (300_000, True)],
)
@pytest.mark.parametrize(
    "head", [b"", b"\r\nX: y", b'\r\nContent-Disposition: form-data; name="a"']
)
def test_parts_are_counted(head: bytes, parts: int, refused: bool) -> None:
    """More parts than a form has are refused at the first one too many, named or not."""
    body = b"--e" + (head + b"\r\n\r\n\r\n--e") * parts + b"--"
    begun = 0
    real = Parts.begin

    def begin(self: Parts) -> None:
        nonlocal begun
        begun += 1
        real(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Parts, "begin", begin)
        try:
            forms.parse("multipart/form-data; boundary=e", body)
        except ApiError as error:
            assert codes.PARAM_INVALID == error.code
            assert refused
        else:
            assert not refused
    assert min(parts, FIELDS_MAX + 1) == begun


@pytest.mark.parametrize(("options", "refused"), [(HEADER_OPTIONS_MAX, False), (4000, True)])
@pytest.mark.parametrize("quoted", [False, True])
def test_options_of_headers_are_counted(*, options: int, refused: bool, quoted: bool) -> None:
    """A header with more options than any has is refused, of the body and of a part of it."""
    many = b';x="' + b";" * (options - 2) + b'"' if quoted else b";" * (options - 1)
    part = b"--e\r\nContent-Disposition: form-data%b;name=a\r\n\r\n1\r\n--e--"
    kind = "multipart/form-data%s; boundary=e"
    for content_type, body in (
        (kind % "", part % many),
        (kind % many.decode(), part % b""),
    ):
        try:
            found: object = forms.parse(content_type, body)
        except ApiError as error:
            found = error.code
        assert found == (codes.PARAM_INVALID if refused else {b"a": b"1"})
        try:
            shown: object = console_forms.parse(content_type, body).fields
        except Refusal as error:
            shown = error.status
        assert shown == (400 if refused else [("a", "1")])


def test_cut_multipart_is_refused() -> None:
    """A body cut anywhere before its end is error 216100, not half of its fields."""
    body = b'--e\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--e--'
    assert {b"a": b"1"} == forms.parse("multipart/form-data; boundary=e", body)
    for end in range(len(body)):
        with pytest.raises(ApiError):
            forms.parse("multipart/form-data; boundary=e", body[:end])
