"""Makes an image that the contract accepts of one that it does not: a phone's, a browser's.

Upright by its EXIF orientation, the first frame of an animation or page of a TIFF, transparency
on white, scaled down, as JPEG. The same bytes always give the same file. Knows Pillow. Runs in
worker processes, which bound its time and its memory.
"""

from __future__ import annotations

import io

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from productsearch_engine.images import decode
from productsearch_engine.images.errors import ImageSizeError, ImageUnreadableError
from productsearch_engine.limits import (
    FITTED_BYTES_MAX,
    FITTED_SIDE_PX_MAX,
    SIDE_PX_MAX,
    SIDE_PX_MIN,
)

_PLUGINS = (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
"""Imported by name: for a format without its plugin, Pillow would load all that it has."""
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "AVIF", "GIF", "TIFF")
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}
_NO_COLOURS = ("F", "I")
"""Modes of TIFF files that measure something: nobody says which value is white."""
_QUALITIES = (90, 80, 70, 60)
_SHRINK = 0.8


def fit(content: bytes) -> tuple[bytes, tuple[int, int]]:
    """Return the JPEG, and the image's own width and height in pixels.

    Its longest side has ``FITTED_SIDE_PX_MAX`` at most, if its shortest one allows that; the
    library keeps a smaller copy anyway. An image is not scaled up. Raises ImageUnreadableError;
    ImageSizeError with the image's sides; MemoryError.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_formats(content)) as image:
            _check_colours(image)
            sides = image.size
            target = _target(sides)
            flat = Image.fromarray(decode.upright(image, min(target)).pixels)
    except (MemoryError, ImageSizeError):
        raise
    # Pillow's decoders raise errors of every type for damaged files.
    except Exception as error:  # noqa: BLE001
        if "memory" in str(error):
            raise MemoryError from None
        raise ImageUnreadableError from None
    return _within(flat, target if flat.width > flat.height else target[::-1]), sides


def _check_colours(image: Image.Image) -> None:
    if image.format == "TIFF" and image.mode in _NO_COLOURS:
        raise ImageUnreadableError


def _formats(content: bytes) -> tuple[str, ...]:
    """Return the formats that a file may have; a HEIC's decoder is loaded for it alone."""
    box = content[8 : min(int.from_bytes(content[:4]), 256)]
    brands = {box[at : at + 4] for at in range(0, len(box), 4)}
    # AVIF files may have the same general brand first.
    if content[4:8] != b"ftyp" or content[8:12] not in _HEIF_BRANDS or brands & _AVIF_BRANDS:
        return _FORMATS
    import pillow_heif

    pillow_heif.options.DECODE_THREADS = 1
    pillow_heif.register_heif_opener()
    return ("HEIF",)


def _target(sides: tuple[int, int]) -> tuple[int, int]:
    """Return the sides to scale to, the longer one first."""
    short, long = sorted(sides)
    if short < SIDE_PX_MIN:
        raise ImageSizeError(sides)
    # A narrow one stays longer: its short side has a least length, too.
    scale = min(1.0, max(FITTED_SIDE_PX_MAX / long, SIDE_PX_MIN / short))
    if round(long * scale) > SIDE_PX_MAX:
        raise ImageSizeError(sides)
    return round(long * scale), round(short * scale)


def _within(image: Image.Image, sides: tuple[int, int]) -> bytes:
    """Return a JPEG of at most ``FITTED_BYTES_MAX``: lower quality first, then smaller."""
    while True:
        scaled = image.resize(sides, Image.Resampling.BICUBIC)
        for quality in _QUALITIES:
            file = io.BytesIO()
            scaled.save(file, "JPEG", quality=quality)
            if file.tell() <= FITTED_BYTES_MAX:
                return file.getvalue()
        if min(sides) * _SHRINK < SIDE_PX_MIN:
            raise ImageSizeError(image.size)
        sides = round(sides[0] * _SHRINK), round(sides[1] * _SHRINK)
