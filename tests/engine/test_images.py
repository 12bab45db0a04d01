"""What becomes of an image's bytes: accepted formats, upright pixels, refused bombs."""

from __future__ import annotations

import base64
import binascii
import io
import random
import resource
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from productsearch_engine.api import parameters
from productsearch_engine.api.codes import ApiError
from productsearch_engine.api.image_field import decode_base64
from productsearch_engine.images.errors import (
    ImageEmptyError,
    ImageSizeError,
    ImageUnreadableError,
)
from productsearch_engine.images.fit import fit
from productsearch_engine.images.image_file import ImageFile
from tests.colour_keys import COLOURS, GREYS, keyed
from tests.engine.image_files import draw, encoded, jpeg, png_claiming


def close(expected: Image.Image, found: np.ndarray, within: float = 6) -> bool:
    """Return whether the mean difference of two images is small."""
    pixels = np.asarray(expected.convert("RGB"), dtype=np.int16)
    return pixels.shape == found.shape and bool(np.abs(pixels - found).mean() < within)


@settings(max_examples=2000)
@given(st.text("ABab01+/=\n é", min_size=1).map(str.encode))
def test_base64_is_read_as_the_standard_library_reads_it(value: bytes) -> None:
    """The fast decoder and the strict one of Python take the same texts for the same bytes."""
    try:
        expected = binascii.a2b_base64(value.replace(b" ", b"+"), strict_mode=True)
    except binascii.Error:
        with pytest.raises(ApiError, match="216203"):
            decode_base64(value)
    else:
        assert expected == decode_base64(value)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *[("JPEG", mode) for mode in ("RGB", "L", "CMYK", "1")],
        *[("PNG", mode) for mode in ("RGB", "L", "P", "1", "RGBA", "LA")],
        *[("BMP", mode) for mode in ("RGB", "L", "P", "1", "RGBA")],
    ],
)
def test_formats_and_modes(kind: str, mode: str) -> None:
    """Every way the three formats store colours gives the image itself, as RGB bytes."""
    stored = draw(1).convert(mode)
    pixels = ImageFile.checked(encoded(stored, kind)).pixels()
    assert np.uint8 == pixels.dtype
    assert close(stored, pixels, within=12)


def test_sixteen_bits() -> None:
    """A 16-bit grey PNG keeps its shades instead of turning white."""
    grey = np.asarray(draw(1).convert("L"), dtype=np.uint16)
    file = encoded(Image.fromarray(grey << 8), "PNG")
    assert close(draw(1).convert("L"), ImageFile.checked(file).pixels(), within=2)


def test_transparency_is_white() -> None:
    """What is transparent is seen as white, whatever colour is hidden under it."""
    hidden = draw(1).convert("RGBA")
    hidden.putalpha(0)
    assert close(
        Image.new("RGB", (400, 320), "white"), ImageFile.checked(encoded(hidden, "PNG")).pixels()
    )


@pytest.mark.parametrize(
    ("depth", "colour"),
    [(depth, False) for depth in GREYS] + [(depth, True) for depth in COLOURS],
)
def test_a_transparent_colour_is_white(depth: int, colour: bool) -> None:
    """Of each depth; nothing else turns white."""
    file, pixels = keyed(depth, colour=colour, side=320)
    found = ImageFile.checked(file).pixels()
    assert np.abs(pixels.astype(int) - found).max() <= 1


@pytest.mark.parametrize("orientation", range(10))
def test_upright(orientation: int) -> None:
    """An image is seen as its EXIF orientation says, not as it is stored."""
    turns = [
        None, None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180,
        Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_90,
        Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_270, None,
    ]  # fmt: skip
    turn = turns[orientation]
    stored = draw(1) if turn is None else draw(1).transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = ImageFile.checked(encoded(stored, "JPEG", exif=exif))
    assert close(draw(1), file.pixels())
    assert (orientation in (5, 6, 7, 8)) == file.is_turned()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_broken_exif_does_not_matter() -> None:
    """An image whose EXIF cannot be read is still an image."""
    file = encoded(draw(1), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert close(draw(1), ImageFile.checked(file).pixels())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((300, 400), (300, 400)),
        ((511, 900), (511, 900)),
        ((512, 900), (256, 450)),
        ((1100, 1024), (275, 256)),
        ((4096, 2050), (512, 257)),
        ((4096, 4096), (512, 512)),
    ],
)
def test_scaled_while_decoding(kind: str, size: tuple[int, int], expected: tuple[int, int]) -> None:
    """Large images arrive halved up to three times, never below 256 on the short side."""
    height, width, _ = ImageFile.checked(encoded(draw(1, size), kind)).pixels().shape
    assert expected == (width, height)


def test_multi_image_jpeg() -> None:
    """The JPEG of a phone that stores several images in one file is a JPEG."""
    file = io.BytesIO()
    draw(1).save(file, "MPO", save_all=True, append_images=[draw(2)])
    assert close(draw(1), ImageFile.checked(file.getvalue()).pixels())


@pytest.mark.parametrize("most", [0, 1])
@pytest.mark.parametrize("kind", [b"BM", b"BMP with masks"])
def test_empty_alpha_is_opaque(kind: bytes, most: int) -> None:
    """A 32-bit BMP of whose fourth bytes none says anything is an image, and not a blank one."""
    stored = draw(1).convert("RGBA")
    stored.putalpha(0)
    stored.putpixel((5, 5), (255, 0, 0, most))
    pixels = stored.tobytes("raw", "BGRA", 0, -1)
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = struct.pack("<IiiHHIIiiII", 56, 400, 320, 1, 32, 3, len(pixels), 0, 0, 0, 0) + masks
    if kind == b"BM":
        head = struct.pack("<IiiHHIIiiII", 40, 400, 320, 1, 32, 0, len(pixels), 0, 0, 0, 0)
    start = 14 + len(head)
    file = struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start) + head + pixels
    assert close(draw(1), ImageFile.checked(file).pixels(), within=1)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}]
)
@pytest.mark.parametrize("size", [(400, 320), (1600, 1280)])
def test_end_mark_may_be_missing(options: dict[str, Any], size: tuple[int, int]) -> None:
    """A JPEG that lacks only its end mark is the same image; one that lacks pixels is refused."""
    file = encoded(draw(1, size), "JPEG", **options)
    whole = ImageFile.checked(file).pixels()
    for cut in (1, 2):
        assert np.array_equal(whole, ImageFile.checked(file[:-cut]).pixels())
    for cut in (len(file) // 4, len(file) // 2):
        with pytest.raises(ImageUnreadableError):
            ImageFile.checked(file[:-cut]).pixels()


@pytest.mark.parametrize("size", [(400, 320), (1100, 1300)])
@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"progressive": True, "quality": 40}, {"quality": 90}]
)
def test_a_cut_image_is_itself_or_refused(options: dict[str, Any], size: tuple[int, int]) -> None:
    """Wherever a JPEG is cut, also between two scans: refused, or every pixel is as it was."""
    noise = np.random.default_rng(7).normal(0, 12, (*size[::-1], 3))
    image = Image.fromarray(np.clip(np.asarray(draw(1, size)) + noise, 0, 255).astype(np.uint8))
    file = encoded(image, "JPEG", **options)
    whole = ImageFile.checked(file).pixels()
    scans = [at for at in range(len(file)) if file[at : at + 2] == b"\xff\xda"]
    chance = random.Random(20261125)
    cuts = {*scans[1:], *(at - chance.randrange(9) for at in scans[1:])}
    cuts |= {chance.randrange(scans[-1], len(file)) for _ in range(10)}
    taken = 0
    for cut in [*sorted(cuts), len(file) - 20, len(file) - 2]:
        try:
            found = ImageFile.checked(file[:cut]).pixels()
        except ImageUnreadableError:
            continue
        assert np.array_equal(whole, found), f"cut at {cut} of {len(file)}, scans at {scans}"
        taken += 1
    assert 1 <= taken <= 3


def test_only_what_is_needed_is_decoded() -> None:
    """Text, profiles, previews, further images and what follows the end reach no decoder."""
    plain = encoded(draw(1), "JPEG")
    exif = Image.Exif()
    exif[0x0112] = 6
    rich = io.BytesIO()
    draw(1).save(rich, "MPO", save_all=True, append_images=[draw(2)], exif=exif)
    noise = b"\xff\xe2" + struct.pack(">H", 60_000) + bytes(59_998)
    file = rich.getvalue()
    file = file[:2] + noise * 9 + file[2:] + bytes(10_000)
    needed = ImageFile.checked(file).needed
    assert len(plain) <= len(needed) < len(plain) + 300
    assert 6 == Image.open(io.BytesIO(needed)).getexif()[0x0112]
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 900_000, zip=True)
    file = encoded(draw(1), "PNG", pnginfo=text, icc_profile=bytes(50_000), exif=exif)
    needed = ImageFile.checked(file).needed
    assert len(needed) < len(encoded(draw(1), "PNG")) + 100
    assert close(draw(1).transpose(Image.Transpose.ROTATE_270), ImageFile.checked(file).pixels())


def test_one_copy_is_in_memory() -> None:
    """A call that waits for a worker has its image once: no text beside it, no second file."""
    file = encoded(draw(1, (400, 300)), "PNG")
    source = parameters.Source(image=base64.b64encode(file))
    content = source.content()
    assert file == content
    assert b"" == source.image
    assert source.content() is content
    image = ImageFile.checked(content)
    assert image.needed is content


def test_animated_png_is_its_first_image() -> None:
    """An animated PNG is seen as its still image."""
    file = encoded(draw(1), "PNG", save_all=True, append_images=[draw(2)])
    assert close(draw(1), ImageFile.checked(file).pixels())


def test_lying_header_allocates_nothing() -> None:
    """A header that claims 30,000 x 30,000 pixels is refused before any is allocated."""
    bomb = png_claiming(30_000, 30_000)
    bitmap = b"BM" + struct.pack("<IIIIiiHHIIiiII", 99, 0, 54, 40, 30000, 30000, 1, 24, *[0] * 6)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        for file in (bomb, bitmap):
            with pytest.raises(ImageSizeError):
                ImageFile.checked(file)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_scan_bomb_is_refused() -> None:
    """A progressive JPEG of thousands of scans is refused, one of the usual ten is not."""
    file = encoded(draw(1), "JPEG", progressive=True)
    assert close(draw(1), ImageFile.checked(file).pixels())
    scan = file[file.rindex(b"\xff\xda") : -2]
    with pytest.raises(ImageUnreadableError):
        ImageFile.checked(file[:-2] + scan * 5000 + b"\xff\xd9")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_every_truncation_is_refused(kind: str) -> None:
    """A file cut short anywhere is refused; the missing part is never filled with grey."""
    file = encoded(draw(1, (300, 300)), kind)
    # The end marks are a formality: all pixels are there without them.
    last = len(file) - {"JPEG": 40, "PNG": 30, "BMP": 1}[kind]
    for end in [*range(0, 300, 7), *range(300, last, max(1, last // 60))]:
        with pytest.raises((ImageEmptyError, ImageUnreadableError)):
            ImageFile.checked(file[:end]).pixels()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_damaged_files(kind: str) -> None:
    """A file with damaged bytes gives pixels or a refusal, nothing else."""
    source = random.Random(20260701)
    file = encoded(draw(1, (300, 300)), kind)
    for _ in range(300):
        damaged = bytearray(file)
        for _ in range(source.randint(1, 20)):
            damaged[source.randrange(min(len(file), 2000))] = source.randrange(256)
        try:
            pixels = ImageFile.checked(bytes(damaged)).pixels()
        except (ImageSizeError, ImageUnreadableError):
            continue
        assert 3 == pixels.ndim


def test_digest_is_of_the_bytes() -> None:
    """The same pixels in another file are another image."""
    assert ImageFile.checked(jpeg(1)).digest == ImageFile.checked(jpeg(1)).digest
    assert ImageFile.checked(jpeg(1)).digest != ImageFile.checked(jpeg(1) + b"\0").digest


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation='
    b'"6"/></rdf:RDF></x:xmpmeta>'
)
"""What a program wrote beside the EXIF data, which says nothing of an orientation."""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_only_exif_turns(kind: str) -> None:
    """An orientation elsewhere turns no image, with ``fit`` or without; so browsers have it."""
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    file = encoded(draw(1), kind, **({"pnginfo": text} if kind == "PNG" else {"xmp": XMP}))
    assert draw(1).size == Image.open(io.BytesIO(fit(file)[0])).size
    if kind in ("JPEG", "PNG"):
        assert draw(1).size == ImageFile.checked(file).pixels().shape[1::-1]
