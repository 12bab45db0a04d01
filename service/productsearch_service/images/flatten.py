"""Makes 8-bit RGB of any Pillow image and scales it, with no more memory than it must have.

Pixels are converted a strip of rows at a time: the same ones as in one piece, with half of the
memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final, cast

from PIL import Image

_STRIP_ROWS: Final = 256
_PIXEL_BYTES: Final = 4
_ONE_PIECE_BYTES_MAX: Final = 256 * 1024 * 1024
"""Above this, an image is scaled in two steps, and freed between them. Pillow may take the two in
the other order, with other roundings, so smaller images are left to it."""


def rgb(image: Image.Image) -> Image.Image:
    """Return a loaded image in 8-bit RGB: 16-bit scaled down, transparency on white.

    ``image`` itself where it is that already; else it is closed.
    """
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith(("I", "F")):
        made = _from_wide(image)
    elif image.has_transparency_data and not _is_blank_bmp(image):
        made = _on_white(image)
    else:
        made = _empty(image, image.size)
        for top, strip in _strips(image):
            made.paste(strip.convert("RGB"), (0, top))
    image.close()
    return made


def resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return an RGB image in another size, and close it: ``image`` itself if it has that size."""
    if image.size == size:
        return image
    in_one_piece, _ = _scaling_bytes(image.size, size)
    if in_one_piece <= _ONE_PIECE_BYTES_MAX:
        scaled = image.resize(size, Image.Resampling.LANCZOS)
        image.close()
        return scaled
    narrow = _empty(image, (size[0], image.height))
    for top, strip in _strips(image):
        of_strip = strip.resize((size[0], strip.height), Image.Resampling.LANCZOS)
        narrow.paste(of_strip, (0, top))
    image.close()
    return narrow.resize(size, Image.Resampling.LANCZOS)


def needed_bytes(size: tuple[int, int], target: tuple[int, int]) -> int:
    """Return the memory that ``resized`` holds at its peak, both images included."""
    in_one_piece, in_two_steps = _scaling_bytes(size, target)
    return in_one_piece if in_one_piece <= _ONE_PIECE_BYTES_MAX else in_two_steps


def _scaling_bytes(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    (width, height), (new_width, new_height) = size, target
    narrow = new_width * height
    half_way = max(narrow, width * new_height)
    in_one_piece = width * height + half_way + new_width * new_height
    in_two_steps = max(width * height + narrow, narrow + new_width * new_height)
    return in_one_piece * _PIXEL_BYTES, in_two_steps * _PIXEL_BYTES


def digest(image: Image.Image) -> bytes:
    """Return the SHA-256 of the pixels."""
    found = hashlib.sha256()
    for _, strip in _strips(image):
        found.update(strip.tobytes())
    return found.digest()


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield each strip of rows with the row at which it begins."""
    for top in range(0, image.height, _STRIP_ROWS):
        yield top, image.crop((0, top, image.width, min(top + _STRIP_ROWS, image.height)))


def _empty(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return an RGB image without pixels yet, for those of ``image``."""
    made = Image.new("RGB", size, None)
    made.info = image.info.copy()
    return made


def _on_white(image: Image.Image) -> Image.Image:
    made = Image.new("RGB", image.size, "white")
    for top, strip in _strips(image):
        layers = strip.convert("RGBA")
        made.paste(layers, (0, top), mask=layers)
    return made


def _is_blank_bmp(image: Image.Image) -> bool:
    """Whether this is a BMP whose alpha is 0 everywhere: its writer left the bytes unused."""
    if image.format != "BMP" or image.mode != "RGBA":
        return False
    return image.getchannel("A").getextrema() == (0, 0)


def _from_wide(image: Image.Image) -> Image.Image:
    """Return RGB of more than 8 bits a pixel: Pillow clips at 255, they would come out white."""
    extrema = [
        cast("tuple[float, float]", strip.convert("F").getextrema()) for _, strip in _strips(image)
    ]
    low, high = min(low for low, _ in extrema), max(high for _, high in extrema)
    factor = 1.0 if low >= 0 and high <= 255 else 255 / 65535
    made = _empty(image, image.size)
    for top, strip in _strips(image):
        scaled = strip.convert("F").point(lambda value: value * factor + 0)
        made.paste(scaled.convert("RGB"), (0, top))
    return made
