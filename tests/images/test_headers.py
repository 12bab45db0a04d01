"""The quick look at a header says what Pillow says, or nothing."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from productsearch_service import headers
from tests.pictures import draw, encode

_EXIF = Image.Exif()
_EXIF[0x0112] = 6
_FILES = {
    "JPEG": encode(draw(1, 411, 302)),
    "JPEG progressive": encode(draw(1, 411, 302), progressive=True, quality=30),
    "JPEG grey": encode(draw(1, 411, 302, "L")),
    "JPEG CMYK": encode(draw(1, 411, 302, "CMYK")),
    "JPEG with EXIF": encode(draw(1, 411, 302), exif=_EXIF, comment=b"a comment"),
    "PNG": encode(draw(1, 411, 302), "PNG"),
    "PNG with alpha": encode(draw(1, 411, 302, "RGBA"), "PNG"),
    "PNG with palette": encode(draw(1, 411, 302, "P"), "PNG"),
    "PNG of one bit": encode(draw(1, 411, 302, "1"), "PNG"),
    "PNG of 16 bits": encode(draw(1, 411, 302, "I;16"), "PNG"),
    "BMP": encode(draw(1, 411, 302), "BMP"),
}


@pytest.mark.parametrize("kind", _FILES)
def test_well_formed_files_are_read_quickly(kind: str) -> None:
    """Format, width and height of every kind that the upstream takes."""
    assert (kind.split()[0], 411, 302) == headers.read(_FILES[kind])


def test_other_files_are_left_to_pillow() -> None:
    """BMPs with a palette are rare; GIF and WebP are none of the three; empty is nothing."""
    for options in ({"kind": "BMP", "mode": "P"}, {"kind": "GIF"}, {"kind": "WEBP"}):
        kind = options.pop("kind")
        assert headers.read(encode(draw(1, **_any(options)), kind)) is None
    assert headers.read(b"") is None


@settings(max_examples=2000)
@given(
    st.sampled_from(sorted(_FILES)),
    st.lists(st.tuples(st.integers(0, 250), st.integers(0, 255)), min_size=1, max_size=3),
    st.none() | st.integers(0, 400),
)
def test_broken_headers(kind: str, changes: list[tuple[int, int]], cut: int | None) -> None:
    """Where both read a header that was tampered with, they read the same."""
    broken = bytearray(_FILES[kind])
    for at, value in changes:
        broken[at] = value
    content = bytes(broken[:cut])
    told = headers.read(content)
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "BMP")) as picture:
            expected = (picture.format, *picture.size)
    except Exception:  # noqa: BLE001 - Pillow refuses in many ways
        return
    assert told in (None, expected)


def _any(options: dict[str, str]) -> dict[str, Any]:
    return dict(options)
