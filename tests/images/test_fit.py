"""`fit` brings images inside the upstream's limits, the same way each time."""

from __future__ import annotations

import hashlib
import io
import random

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from productsearch_service import limits
from productsearch_service.images import fit, form_encoding
from productsearch_service.images.inspect import SizeInvalid, Unreadable
from tests.pictures import draw, encode, jpeg

ORIENTATION = 0x0112


def _fitted(content: bytes) -> bytes:
    made = fit.fit(content, limits.FIT_LARGE_MEMORY_BYTES)
    return content if made is None else made


def _check(content: bytes) -> None:
    """Raise unless the image is sent on as it is."""
    form_encoding.check(content)
    assert len(form_encoding.encode(content)) <= limits.IMAGE_ENCODED_BYTES_MAX


def _opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def _heic(image: Image.Image) -> bytes:
    pillow_heif.register_heif_opener()
    return encode(image, "HEIF", quality=90)


def _animated() -> bytes:
    frames = [draw(seed).convert("P") for seed in range(3)]
    return encode(frames[0], "GIF", save_all=True, append_images=frames[1:])


def _alike(one: Image.Image, other: Image.Image) -> bool:
    """Whether two images look the same: a small mean difference at low resolution."""
    small = [np.asarray(p.convert("RGB").resize((16, 16)), np.float32) for p in (one, other)]
    return bool(np.abs(small[0] - small[1]).mean() < 6)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_an_image_within_the_limits_is_not_touched(kind: str) -> None:
    """The same bytes come back, so that the signature does not depend on fit."""
    content = encode(draw(1), kind)
    assert content == _fitted(content)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((198, 198), (300, 300)),
        ((100, 400), (300, 1200)),
        ((5000, 5000), (4096, 4096)),
        ((8000, 1000), (4096, 512)),
        ((299, 4000), (300, 4013)),
        ((300, 4096), (300, 4096)),
    ],
)
def test_sides_are_scaled_into_the_limits(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """The factor nearest to 1 that brings both sides inside; the proportions stay."""
    fitted = _fitted(encode(draw(1, *size), "PNG"))
    _check(fitted)
    assert expected == _opened(fitted).size
    assert _alike(draw(1), _opened(fitted))


@pytest.mark.parametrize(
    "content",
    [
        encode(draw(1), "WEBP", quality=90),
        encode(draw(1), "WEBP", lossless=True),
        encode(draw(1), "GIF"),
        encode(draw(1), "TIFF"),
        _heic(draw(1)),
    ],
    ids=["webp", "webp lossless", "gif", "tiff", "heic"],
)
def test_other_formats_are_transcoded(content: bytes) -> None:
    """WebP, GIF, TIFF and HEIC become JPEGs that look the same."""
    fitted = _fitted(content)
    _check(fitted)
    assert "JPEG" == _opened(fitted).format
    assert _alike(draw(1), _opened(fitted))
    with pytest.raises(Unreadable):
        _check(content)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    """However the camera was held, the result is upright and has no orientation left."""
    upright = draw(3, 400, 320)
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)  # fmt: skip
    stored = upright if turn is None else upright.transpose(turn)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    fitted = _opened(_fitted(encode(stored, "JPEG", exif=exif, quality=90)))
    assert (400, 320) == fitted.size
    assert _alike(upright, fitted)
    assert fitted.getexif().get(ORIENTATION, 1) == 1


def test_an_animation_gives_its_first_frame() -> None:
    """Of several frames the first one counts."""
    assert _alike(draw(0), _opened(_fitted(_animated())))


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "LA", "RGBA"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    """Grey, palette, CMYK and the like keep their looks."""
    image = draw(1, 200, 200).convert(mode, dither=Image.Dither.NONE)
    fitted = _opened(_fitted(encode(image, "TIFF")))
    assert "RGB" == fitted.mode
    assert _alike(image.convert("RGB"), fitted)


def test_transparency_becomes_white() -> None:
    """What is transparent shows white, not the colour hidden below."""
    clear = Image.new("RGBA", (200, 200), (255, 0, 0, 0))
    assert (255, 255, 255) == _opened(_fitted(encode(clear, "PNG"))).getpixel((100, 100))


@pytest.mark.parametrize("top", [65535, 40000])
def test_sixteen_bit_grey_is_scaled_not_clipped(top: int) -> None:
    """A 16-bit ramp stays a ramp of 8 bits."""
    ramp = np.tile(np.linspace(0, top, 200, dtype=np.uint16), (200, 1))
    fitted = _opened(_fitted(encode(Image.fromarray(ramp), "PNG"))).convert("L")
    middle = fitted.getpixel((150, 150))
    assert isinstance(middle, int | float)
    assert abs(middle - top / 65535 * 127) < 6


def test_too_many_bytes_are_brought_under_the_limit() -> None:
    """A noisy image of 12 MB fits in the end, within the limits of the sides."""
    pixels = np.frombuffer(random.Random(1).randbytes(2000 * 2000 * 3), np.uint8)
    content = encode(Image.fromarray(pixels.reshape(2000, 2000, 3)), "PNG")
    fitted = _fitted(content)
    _check(fitted)
    assert len(form_encoding.encode(fitted)) > limits.IMAGE_ENCODED_BYTES_MAX / 4


def test_the_same_input_gives_the_same_bytes() -> None:
    """Twice the same result, for scaling, transcoding and re-encoding."""
    for content in (jpeg(1, 198, 198), encode(draw(1), "WEBP"), _heic(draw(2))):
        once, twice = _fitted(content), _fitted(content)
        assert hashlib.sha256(once).digest() == hashlib.sha256(twice).digest()


@pytest.mark.parametrize(
    "content",
    [b"", b"junk", jpeg(1, 200, 200)[:-800], encode(draw(1), "WEBP")[:60], _heic(draw(1))[:400]],
    ids=["empty", "junk", "cut jpeg", "cut webp", "cut heic"],
)
def test_damaged_images_are_unreadable(content: bytes) -> None:
    """What cannot be decoded is told so, whatever the decoder thinks of it."""
    with pytest.raises(Unreadable):
        _fitted(content)


def test_an_image_that_states_giant_sides_is_never_decoded() -> None:
    """30,000 x 30,000 in a header of a few bytes: refused by the header alone."""
    bomb = bytearray(encode(draw(1, 64, 64), "BMP"))
    bomb[18:26] = (30_000).to_bytes(4, "little") * 2
    with pytest.raises(SizeInvalid, match="30000 x 30000"):
        _fitted(bytes(bomb))
    with pytest.raises(SizeInvalid, match="30000 x 30000"):
        _check(bytes(bomb))
