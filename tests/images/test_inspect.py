"""What a header says of an image, and that reading it costs little."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from productsearch_service import limits
from productsearch_service.images.fit import fit
from productsearch_service.images.inspect import (
    Header,
    SizeInvalid,
    Unreadable,
    check_sides,
    inspect,
)
from tests.images.bombs import all_bombs, png_chunk, png_chunks
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
    "BMP with palette": encode(draw(1, 411, 302, "P"), "BMP"),
}
_LOW, _HIGH = limits.IMAGE_SIDE_MIN_PX, limits.IMAGE_SIDE_MAX_PX


@pytest.mark.parametrize("kind", _FILES)
def test_well_formed_files_are_read(kind: str) -> None:
    """Format, width and height of every kind that the upstream takes."""
    assert Header(kind.split()[0], 411, 302) == inspect(_FILES[kind])


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF"])
def test_other_formats_are_unreadable(kind: str) -> None:
    """A format that the upstream does not take is refused by its header."""
    with pytest.raises(Unreadable):
        inspect(encode(draw(1), kind))


_JPEG, _PNG = _FILES["JPEG"], _FILES["PNG"]
_BROKEN = {
    "JPEG that was cut": _JPEG[:30],
    "JPEG with EXIF that was cut": _FILES["JPEG with EXIF"][:30],
    "JPEG with a wrong length": _JPEG[:4] + b"\0\x05" + _JPEG[6:],
    "PNG that was cut": _PNG[:30],
    "PNG that was cut in its signature": _PNG[:10],
    "PNG with other sides than its checksum": _PNG[:16] + bytes(8) + _PNG[24:],
}


@pytest.mark.parametrize("kind", _BROKEN)
def test_a_header_that_is_cut_or_damaged_is_called_so(kind: str) -> None:
    """Also by ``fit``, whose formats are more: the file is no other format."""
    told = f"the {kind.split()[0]} is damaged or cut short; send the whole file"
    with pytest.raises(Unreadable) as raised:
        inspect(_BROKEN[kind])
    assert told == str(raised.value)
    if "length" not in kind:  # Pillow finds the next marker, so fit reads it
        with pytest.raises(Unreadable) as raised:
            fit(_BROKEN[kind], limits.FIT_MEMORY_BYTES)
        assert told == str(raised.value)


@pytest.mark.parametrize("content", [b"no image", b"BMW of 1990", b"\xff\xd8 of text", b""])
def test_what_is_no_image_is_not_called_damaged(content: bytes) -> None:
    """The formats that are taken are listed."""
    with pytest.raises(Unreadable, match="no readable image; send a JPEG, PNG or BMP file"):
        inspect(content)


def test_a_jpeg_of_another_depth_is_not_called_damaged() -> None:
    """It is whole, and of a kind that is not read here."""
    deep = _FILES["JPEG"]
    at = deep.index(b"\xff\xc0") + 4
    deep = deep[:at] + b"\x0c" + deep[at + 1 :]
    for read in (inspect, lambda content: fit(content, limits.FIT_MEMORY_BYTES)):
        with pytest.raises(Unreadable, match="no readable image"):
            read(deep)


@settings(max_examples=1000)
@given(
    st.sampled_from(sorted(_FILES)),
    st.lists(st.tuples(st.integers(0, 250), st.integers(0, 255)), max_size=3),
    st.none() | st.integers(0, 400),
)
def test_whatever_the_bytes_are_there_is_a_header_or_a_refusal(
    kind: str, changes: list[tuple[int, int]], cut: int | None
) -> None:
    """A header that was tampered with is read or is Unreadable: no other exception. Where Pillow
    reads the file too, it says the same.
    """
    broken = bytearray(_FILES[kind])
    for at, value in changes:
        broken[at] = value
    content = bytes(broken[:cut])
    try:
        header = inspect(content)
    except Unreadable:
        return
    try:
        expected = Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "BMP"))
    except Exception:  # noqa: BLE001 - Pillow refuses in many ways
        return
    assert Header(str(expected.format), *expected.size) == header


@pytest.mark.parametrize(
    ("width", "height", "fits"),
    [
        (_LOW, _LOW, True),
        (_LOW, _HIGH, True),
        (_HIGH, _LOW, True),
        (_LOW - 1, _LOW, False),
        (_LOW, _LOW - 1, False),
        (_HIGH + 1, _LOW, False),
        (_LOW, _HIGH + 1, False),
        (30_000, 30_000, False),
    ],
)
def test_the_bounds_of_the_sides_are_exact(width: int, height: int, fits: bool) -> None:
    """An image at a bound passes, one pixel beyond it is refused; nothing is decoded for that."""
    file = bytearray(encode(draw(1, 8, 8), "BMP"))
    file[18:26] = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    with contextlib.nullcontext() if fits else pytest.raises(SizeInvalid, match=f"^{width} x"):
        check_sides(bytes(file))


def test_text_of_a_png_is_not_inflated() -> None:
    """64 MB of compressed text before the image data cost less than a megabyte."""
    image = _FILES["PNG"]
    text = b"zTXtk\x00\x00" + zlib.compress(bytes(64_000_000))
    chunk = (len(text) - 4).to_bytes(4, "big") + text + zlib.crc32(text).to_bytes(4, "big")
    bomb = image[:33] + chunk + image[33:]
    tracemalloc.start()
    try:
        assert Header("PNG", 411, 302) == inspect(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


_SEGMENTS = {
    "EXIF": b"\xff\xe1\x00\x12Exif\0\0" + b"A" * 10,
    "comments": b"\xff\xfe\x00\x02",
    "fill bytes": b"\xff",
    "padded markers": b"\xff\x00",
}


@pytest.mark.parametrize("segment", _SEGMENTS.values(), ids=_SEGMENTS)
def test_a_jpeg_of_countless_segments_is_refused_before_they_are_read(segment: bytes) -> None:
    """They are cheap to send and dear to read, and reading happens on the event loop."""
    file = _FILES["JPEG"]
    with pytest.raises(Unreadable, match="segments"):
        inspect(file[:2] + segment * (2_000_000 // len(segment)) + file[2:])


def test_a_jpeg_with_a_colour_profile_in_many_segments_is_read() -> None:
    """As many segments as the largest files of cameras and shops have are no fault."""
    file = _FILES["JPEG"]
    profile = b"\xff\xe2" + (20_002).to_bytes(2) + bytes(20_000)
    assert Header("JPEG", 411, 302) == inspect(file[:2] + profile * 100 + file[2:])


def test_pillow_reads_no_header_on_the_event_loop() -> None:
    """It would parse EXIF, palettes and tables of megabytes: the facade does not even load it."""
    code = "import sys, productsearch_service.server.compose as _; print('PIL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()


@pytest.mark.parametrize("kind", ["EXIF of 65,000 entries", "Photoshop", "tables", "comments"])
def test_metadata_of_a_jpeg_is_skipped_not_read(kind: str) -> None:
    """Megabytes of it cost no more steps than there are segments."""
    file = all_bombs(0.1)[f"JPEG, {kind}"]()
    steps = 0

    def count(*_: object) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(count)
    try:
        with contextlib.suppress(Unreadable):
            inspect(file)
    finally:
        sys.setprofile(None)
    assert steps < 1000


def test_a_png_of_countless_chunks_is_refused_before_they_are_read() -> None:
    """Before its image; what is behind it is not looked at."""
    chunk = png_chunk(b"prVt", b"")
    with pytest.raises(Unreadable, match="chunks"):
        inspect(png_chunks(chunk, 100_000))
    assert Header("PNG", 200, 200) == inspect(png_chunks(chunk, 100_000, behind=True))
