"""What is told of a file that is no JPEG, PNG or BMP."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from productsearch_service import limits
from productsearch_service.images.fit import fit
from productsearch_service.images.foreign import named
from productsearch_service.images.inspect import OtherFormat, Unreadable, inspect
from tests.pictures import draw, encode, jpeg

_BOX = b"\0\0\0\x18ftyp%b\0\0\0\0%b"
OTHERS = {
    "a HEIC image": _BOX % (b"heic", b"mif1heic"),
    "an AVIF image": _BOX % (b"mif1", b"avifmiaf"),
    "a WebP image": encode(draw(1, 64, 64), "WEBP"),
    "a GIF image": encode(draw(1, 64, 64), "GIF"),
    "a TIFF image": encode(draw(1, 64, 64), "TIFF"),
}
"""What ``fit`` reads."""
STRANGE = {
    "a video": _BOX % (b"mp42", b"isommp41"),
    "a JPEG XL image": b"\xff\x0a\xfa\x1f",
    "a PDF document": b"%PDF-1.7\n",
    "a ZIP archive": b"PK\3\4",
    "a web page": b"\xef\xbb\xbf\r\n<!DOCTYPE html><html><title>404",
    "an SVG drawing": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">',
    "JSON text": b'{"error": "not found"}',
    "base64 text in place of the bytes themselves": base64.b64encode(jpeg(1, 64, 64)),
    "a data URI in place of the bytes themselves": b"data:image/png;base64,AAAA",
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_fit_reads_is_told_as_that(name: str) -> None:
    """The file may be whole: it is not called unreadable, and ``fit`` would help."""
    with pytest.raises(OtherFormat) as raised:
        inspect(OTHERS[name])
    assert f"{name}; send a JPEG, PNG or BMP file" == str(raised.value)
    assert "converts" == raised.value.fit_does
    with pytest.raises(Unreadable, match=r"cannot be (read|decoded)"):
        fit(OTHERS[name][:40], limits.FIT_MEMORY_BYTES)


@pytest.mark.parametrize("name", STRANGE)
def test_what_nobody_reads_is_told_as_that(name: str) -> None:
    """With ``fit`` or without; ``fit`` is not offered."""
    with pytest.raises(Unreadable) as raised:
        inspect(STRANGE[name])
    assert f"{name}; send a JPEG, PNG or BMP file" == str(raised.value)
    assert "" == raised.value.fit_does
    with pytest.raises(Unreadable) as raised:
        fit(STRANGE[name], limits.FIT_MEMORY_BYTES)
    assert f"{name}; send a JPEG, PNG, BMP, WebP" in str(raised.value)


@given(st.binary(max_size=40))
def test_any_bytes_have_a_name_or_none(content: bytes) -> None:
    """Whatever they are, and however short."""
    named(content)
    named(content[:4] + b"ftyp" + content[4:])
