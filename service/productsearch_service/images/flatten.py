"""Makes 8-bit RGB of any Pillow image and scales it, with no more memory than it must have.

Pixels are converted a strip of rows at a time: the same ones as in one piece, with half of the
memory.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any, Final, cast

from PIL import Image, PngImagePlugin

from productsearch_service.images.inspect import Unreadable

_STRIP_ROWS: Final = 256
_GREY_STEPS: Final = {"L;2": 85, "L;4": 17}
"""Pillow's names of greys of 2 and 4 bits, and how far apart it decodes their levels."""
_BMP_ALPHA_MIN: Final = 16
"""Where a BMP's largest alpha is below this, nothing of the image could be seen: it is no alpha."""
_RANGES: Final = {"I": (255, 65535, (1 << 31) - 1), "F": (1, 255, 65535)}
"""Where the samples of 32-bit integers and floating point usually end."""
_LEVELS_MIN: Final = 8
"""Of numbers whose range is a guess: fewer levels of 255 would look blank."""
_UNSEEN: Final = "its samples differ too little to be seen in 8 bits; save it as PNG or JPEG"
_PIXEL_BYTES: Final = 4
_ONE_PIECE_BYTES_MAX: Final = 256 * 1024 * 1024
"""Above this, an image is scaled in two steps, and freed between them. Pillow may take the two in
the other order, with other roundings, so smaller images are left to it."""


def colour_key(image: Image.Image) -> dict[str, Any]:
    """Return a PNG's transparent colour in the depth that Pillow decodes its samples to.

    It goes into ``info`` of the decoded image. To be asked before: Pillow forgets the depth then.
    """
    key = image.info.get("transparency")
    if isinstance(image, PngImagePlugin.PngImageFile) and image.tile:
        raw_mode = image.tile[0].args
        if isinstance(key, int) and raw_mode in _GREY_STEPS:
            return {"transparency": key * _GREY_STEPS[raw_mode]}
        if isinstance(key, tuple) and raw_mode == "RGB;16B":
            return {"transparency": tuple(sample >> 8 for sample in key)}
    return {}


def rgb(image: Image.Image) -> Image.Image:
    """Return a loaded image in 8-bit RGB: 16-bit scaled down, transparency on white.

    ``image`` itself where it is that already; else it is closed. Raises Unreadable where nothing
    of it would be seen, though its samples differ.
    """
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I;16"):
        made = _from_16_bits(image)
    elif image.mode in ("I", "F"):
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
    """Whether this is a BMP whose alpha shows nothing: its writer left the bytes unused."""
    if image.format != "BMP" or image.mode != "RGBA":
        return False
    _, most = cast("tuple[float, float]", image.getchannel("A").getextrema())
    return most < _BMP_ALPHA_MIN


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Return RGB of greys of 16 bits; the transparent one is white."""
    low, high = _extrema(image)
    if low < high and low // 257 == high // 257:
        raise Unreadable(_UNSEEN)
    levels = [level // 257 for level in range(1 << 16)]
    if isinstance(key := image.info.get("transparency"), int) and key < len(levels):
        levels[key] = 255
    made = _empty(image, image.size)
    for top, strip in _strips(image):
        made.paste(strip.convert("I").point(levels, "L").convert("RGB"), (0, top))
    return made


def _from_wide(image: Image.Image) -> Image.Image:
    """Return RGB of numbers of 32 bits, whose range no format tells: the least that holds them."""
    low, high = _extrema(image)
    if not math.isfinite(high - low):
        raise Unreadable("samples that are no numbers; save it as PNG or JPEG")
    factor = 255 / next((end for end in _RANGES[image.mode] if high <= end), high)
    if low < high and (high - max(low, 0)) * factor < _LEVELS_MIN:
        raise Unreadable(_UNSEEN)
    made = _empty(image, image.size)
    for top, strip in _strips(image):
        scaled = strip.convert("F").point(lambda value: value * factor + 0)
        made.paste(scaled.convert("RGB"), (0, top))
    return made


def _extrema(image: Image.Image) -> tuple[float, float]:
    found = [
        cast("tuple[float, float]", strip.convert("F").getextrema()) for _, strip in _strips(image)
    ]
    return min(low for low, _ in found), max(high for _, high in found)
