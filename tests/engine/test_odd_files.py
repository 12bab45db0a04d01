"""Files of JPEG, PNG and BMP as people have them are the image itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from productsearch_engine.images.image_file import ImageFile
from productsearch_service import limits
from productsearch_service.images.fit import fit
from tests.engine.image_files import draw, encoded
from tests.engine.odd_files import bmp, png, rows, run_lengths, segments, without, ycck

SIZE = 400, 320
IMAGE = draw(1, SIZE)
RGB = np.asarray(IMAGE)
BGR = np.ascontiguousarray(RGB[..., ::-1])
GREY = np.asarray(IMAGE.convert("L"))
OPAQUE = np.full((*GREY.shape, 1), 255, dtype=np.uint8)
BGRA = np.dstack([BGR, OPAQUE])
MASKS = 0xFF0000, 0xFF00, 0xFF, 0xFF000000

JPEG = encoded(IMAGE)
FIRST, SCANS = segments(JPEG)
JPEGS = {
    "CMYK": encoded(IMAGE.convert("CMYK")),
    "CMYK without Adobe's mark": without(encoded(IMAGE.convert("CMYK")), 0xEE),
    "YCCK": ycck(IMAGE),
    "RGB, with Adobe's mark": encoded(IMAGE, keep_rgb=True),
    "RGB by its names of components": without(encoded(IMAGE, keep_rgb=True), 0xE0, 0xEE),
    "without JFIF": without(JPEG, 0xE0),
    "fill bytes": JPEG[:2] + b"\xff" * 9 + JPEG[2:],
    "zeros between segments": JPEG[:2] + FIRST[0] + bytes(3) + b"".join(FIRST[1:]) + SCANS,
    "a broken profile": encoded(IMAGE, icc_profile=b"\xff" * 3000),
    "a profile of several segments": encoded(IMAGE, icc_profile=bytes(200_000)),
    "a video behind it": JPEG + b"\0\0\0\x18ftypmp42" + b"\xff\xd8\xff\xd9" * 9999,
}
BMPS = {
    "OS/2": bmp(rows(BGR), 24, SIZE, header=12),
    "OS/2 2": bmp(rows(BGR), 24, SIZE, header=64),
    "from the top": bmp(rows(BGR[::-1]), 24, SIZE, from_top=True),
    "32 bits from the top": bmp(rows(BGRA[::-1]), 32, SIZE, from_top=True),
    "alpha, version 3": bmp(rows(BGRA), 32, SIZE, header=56, compression=3, masks=MASKS),
    "alpha, version 4": bmp(rows(BGRA), 32, SIZE, header=108, compression=3, masks=MASKS),
    "alpha, version 5": bmp(rows(BGRA), 32, SIZE, header=124, compression=3, masks=MASKS),
    "alpha of zeros, version 5": bmp(
        rows(np.dstack([BGR, 0 * OPAQUE])), 32, SIZE, header=124, compression=3, masks=MASKS
    ),
    "other order": bmp(
        rows(np.dstack([RGB, OPAQUE])), 32, SIZE, header=124, compression=3,
        masks=(0xFF, 0xFF00, 0xFF0000, 0xFF000000),
    ),
}  # fmt: skip


def differs(expected: Image.Image, file: bytes) -> float:
    """Return the mean difference between an image and what the engine sees of a file."""
    seen = ImageFile.checked(file).pixels().astype(int)
    return float(np.abs(np.asarray(expected.convert("RGB")) - seen).mean())


@pytest.mark.parametrize("name", JPEGS)
def test_jpegs(name: str) -> None:
    """Of print, of cameras, and with what others have put between."""
    assert differs(IMAGE, JPEGS[name]) < 2


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("samples", "colour"),
    [
        (RGB.astype(int) * 257, 2),
        (np.dstack([RGB, OPAQUE]).astype(int) * 257, 6),
        (np.dstack([GREY, OPAQUE]).astype(int) * 257, 4),
        (GREY.astype(int) * 257, 0),
    ],
    ids=["RGB", "RGBA", "LA", "L"],
)
def test_pngs_of_16_bits(samples: np.ndarray, colour: int, interlaced: bool) -> None:
    """Their upper halves are seen."""
    expected = IMAGE if colour in (2, 6) else IMAGE.convert("L")
    assert differs(expected, png(samples, 16, colour, interlaced=interlaced)) < 1


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palettes(depth: int, interlaced: bool) -> None:
    """One of the colours is transparent, and white."""
    palette = IMAGE.quantize(1 << depth)
    indices, colours = np.asarray(palette), bytes(palette.getpalette() or b"")[: 3 << depth]
    expected = np.asarray(palette.convert("RGB")).copy()
    expected[indices == 0] = 255
    chunks = (b"PLTE", colours.ljust(3 << depth, b"\0")), (b"tRNS", b"\0")
    file = png(indices, depth, 3, interlaced=interlaced, chunks=chunks)
    assert differs(Image.fromarray(expected), file) < 1


@pytest.mark.parametrize("name", BMPS)
def test_bmps(name: str) -> None:
    """Of every header and order of rows and colours."""
    assert differs(IMAGE, BMPS[name]) < 1


@pytest.mark.parametrize("bits", [4, 8])
def test_run_lengths(bits: int) -> None:
    """Of a palette of 16 or 256 colours."""
    palette = IMAGE.quantize(1 << bits)
    colours = np.array(palette.getpalette()).reshape(-1, 3)[: 1 << bits, ::-1].astype("u1")
    colours = np.pad(colours, ((0, (1 << bits) - len(colours)), (0, 1)))
    pixels = run_lengths(np.asarray(palette), bits)
    file = bmp(pixels, bits, SIZE, compression=3 - bits // 4, palette=colours.tobytes())
    assert differs(palette, file) < 1


@pytest.mark.parametrize(
    "made", [lambda: JPEGS["YCCK"], lambda: BMPS["OS/2"], lambda: BMPS["alpha, version 5"]]
)
def test_fit_leaves_them_as_they_are(made: Callable[[], bytes]) -> None:
    """What is within the limits has the same sign with ``fit``."""
    assert None is fit(made(), limits.FIT_MEMORY_BYTES)
