"""`fit` brings images inside the upstream's limits, the same way each time."""

from __future__ import annotations

import hashlib
import io
import random
import struct

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from productsearch_service import limits
from productsearch_service.images import fit, flatten, form_encoding
from productsearch_service.images.inspect import SizeInvalid, Unreadable
from tests.colour_keys import COLOURS, GREYS, keyed
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


def _avif_by_its_general_brand() -> bytes:
    file = encode(draw(1), "AVIF", quality=90)
    return file[:8] + b"mif1" + file[12:]


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


def _of_several_images(image: Image.Image) -> bytes:
    return encode(image, "MPO", save_all=True, append_images=[image.resize((160, 160))])


def _with_orientation(image: Image.Image, kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encode(image, kind, exif=exif)


@pytest.mark.parametrize(
    "content",
    [
        _of_several_images(draw(1)),
        *(_with_orientation(draw(1), "JPEG", each) for each in (0, 1, 9, 65535)),
        *(_with_orientation(draw(1), "PNG", each) for each in (0, 1, 9)),
        jpeg(1)[:-2],
    ],
    ids=["MPO", *(f"JPEG {each}" for each in (0, 1, 9, 65535)), "PNG 0", "PNG 1", "PNG 9", "cut"],
)
def test_what_passes_without_fit_is_sent_unchanged_with_it(content: bytes) -> None:
    """As phones write them: several images in one file, orientations that are no turn, no end."""
    _check(content)
    assert content == _fitted(content)


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_turn_is_applied_once_in_every_format(kind: str) -> None:
    """Some decoders of Pillow turn an image themselves."""
    upright = draw(3, 400, 320)
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    fitted = _opened(_fitted(_with_orientation(stored, kind, 6)))
    assert (400, 320) == fitted.size
    assert _alike(upright, fitted)


def test_several_images_in_one_file_give_the_first() -> None:
    """An MPO that has to be scaled."""
    fitted = _opened(_fitted(_of_several_images(draw(1, 200, 200))))
    assert ("JPEG", (300, 300)) == (fitted.format, fitted.size)
    assert _alike(draw(1), fitted)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(200, 200), (5000, 400)])
def test_a_jpeg_without_its_end_marker_is_whole(size: tuple[int, int], progressive: bool) -> None:
    """The same image as with it; padding behind it changes nothing."""
    whole = encode(draw(1, *size), quality=80, progressive=progressive)
    assert _fitted(whole) == _fitted(whole[:-2]) == _fitted(whole[:-2] + bytes(1000))


def test_a_progressive_jpeg_that_lacks_scans_is_unreadable() -> None:
    """Cut between two of its scans it would decode, coarser than it was."""
    file = encode(draw(1, 2000, 4300), "JPEG", progressive=True)
    scans = [at for at in range(len(file)) if file[at : at + 2] == b"\xff\xda"]
    for cut in (*scans[1:], len(file) - 40):
        with pytest.raises(Unreadable, match="end of the image is missing"):
            _fitted(file[:cut])


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [20, 400, 1000])
def test_a_jpeg_that_lacks_more_is_unreadable(missing: int, progressive: bool) -> None:
    """A decoder would make up the rest: grey, or black."""
    whole = encode(draw(1, 250, 250), quality=95, progressive=progressive)
    with pytest.raises(Unreadable):
        _fitted(whole[:-missing])


@pytest.mark.parametrize("masks", [(0, 0, 0, 0), (0xFF0000, 0xFF00, 0xFF, 0xFF000000)])
@pytest.mark.parametrize("alpha", [0, 255])
def test_a_bmp_without_any_alpha_is_opaque(alpha: int, masks: tuple[int, ...]) -> None:
    """Programs write 32 bits with a mask for alpha and leave the alpha zero: it shows the image."""
    image = draw(1, 200, 200).convert("RGBA")
    image.putalpha(alpha)
    pixels = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes("raw", "BGRA")
    info = struct.pack("<IiiHHIIiiII", 108, 200, 200, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    header = info + struct.pack("<4I", *masks) + bytes(108 - 56)
    offset = 14 + len(header)
    file = b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + header + pixels
    assert _alike(draw(1), _opened(_fitted(file)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "LA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("size", [(300, 1000), (5000, 700), (120, 300)])
def test_strips_change_nothing(size: tuple[int, int], mode: str) -> None:
    """Flattened a strip at a time: the same pixels as in one piece."""
    image = draw(1, *size).convert(mode)
    whole = image
    if mode == "I;16":
        samples = np.asarray(draw(1, *size).convert("L")).astype(np.uint16) * 200
        image, whole = Image.fromarray(samples), Image.fromarray((samples // 257).astype(np.uint8))
    elif mode == "F":
        whole = image.convert("F").point(lambda value: value * 1.0 + 0)
    elif mode in ("RGBA", "LA"):
        layers = image.convert("RGBA")
        whole = Image.new("RGB", size, "white")
        whole.paste(layers, mask=layers)
    assert whole.convert("RGB").tobytes() == flatten.rgb(image).tobytes()


@pytest.mark.parametrize("target", [(400, 267), (100, 67), (900, 600)])
def test_scaling_in_two_steps_is_scaling(
    target: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the largest images get differs by no more than roundings of each step."""
    image = draw(1, 600, 400)
    expected = image.resize(target, Image.Resampling.LANCZOS)
    monkeypatch.setattr(flatten, "_ONE_PIECE_BYTES_MAX", 0)
    scaled = flatten.resized(image, target)
    assert target == scaled.size
    difference = np.abs(np.asarray(expected, np.int16) - np.asarray(scaled, np.int16))
    assert difference.max() <= 8
    assert difference.mean() < 0.5


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
        encode(draw(1), "AVIF", quality=90),
        _avif_by_its_general_brand(),
    ],
    ids=["webp", "webp lossless", "gif", "tiff", "heic", "avif", "avif as mif1"],
)
def test_other_formats_are_transcoded(content: bytes) -> None:
    """WebP, GIF, TIFF, HEIC and AVIF become JPEGs that look the same."""
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


@pytest.mark.parametrize(
    ("depth", "colour"),
    [(depth, False) for depth in GREYS] + [(depth, True) for depth in COLOURS],
)
def test_a_transparent_colour_becomes_white(depth: int, colour: bool) -> None:
    """Of each depth; nothing else turns white."""
    file, pixels = keyed(depth, colour=colour, side=208)
    fitted = np.asarray(_opened(_fitted(file)))
    for column in (0.25, 0.75):
        expected = pixels[104, round(208 * column)].astype(int)
        found = fitted[fitted.shape[0] // 2, round(fitted.shape[1] * column)]
        assert np.abs(expected - found).max() <= 3


@pytest.mark.parametrize("kind", ["<f4", "<i4"])
@pytest.mark.parametrize("top", [1, 255, 65535, 2**31 - 200])
def test_wide_samples_are_seen(kind: str, top: int) -> None:
    """A ramp of 32-bit numbers is a ramp, whatever its range; what would be blank is refused."""
    ramp = np.tile(np.linspace(0, top, 200), (200, 1)).astype(kind)
    content = encode(Image.fromarray(ramp), "TIFF")
    if top == 1 and kind == "<i4":
        with pytest.raises(Unreadable, match="differ too little"):
            _fitted(content)
        return
    with pytest.raises(Unreadable, match="differ too little"):
        _fitted(encode(Image.fromarray(np.minimum(ramp, 255).astype(np.uint16)), "PNG"))
    if kind == "<f4":
        with pytest.raises(Unreadable, match="no numbers"):
            _fitted(encode(Image.fromarray(np.where(ramp > 0, ramp, np.nan)), "TIFF"))
    fitted = np.asarray(_opened(_fitted(content)).convert("L"))
    assert fitted[150, 5] < 20
    assert fitted[150, 294] > 235


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
