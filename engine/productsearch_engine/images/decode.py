"""Decodes an image file into upright RGB pixels, no larger than the embedding needs.

Knows Pillow, its colour modes, EXIF orientation and transparency. Runs in worker processes,
which bound its time and its memory. Does not know what the contract accepts:
``images.image_file`` has checked that before.
"""

from __future__ import annotations

import hashlib
import random
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from productsearch_engine.embedding.interface import Pixels
from productsearch_engine.images.errors import ImageUnreadableError
from productsearch_engine.images.structure import Structure
from productsearch_engine.limits import EMBEDDED_SIDE_PX_MIN

# The contract's own bound is checked on the header, below Pillow's threshold.
Image.MAX_IMAGE_PIXELS = None

_EXIF_ORIENTATION = 0x0112
_NO_EXIF = ("xmp", "XML:com.adobe.xmp", "Raw profile type exif")
_GREY_STEPS = {"L;2": 85, "L;4": 17}
"""Pillow's names of greys of 2 and 4 bits, and how far apart it decodes their levels."""
_BMP_ALPHA_MIN = 16
"""Where a BMP's largest alpha is below this, nothing of the image could be seen: it is no alpha."""
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED_FROM = 5
"""From this orientation on, width and height are exchanged."""
_JPEG_END = b"\xff\xd9"
_ROWS = 256
"""Read at a time."""


def factor(structure: Structure, side_px_min: int) -> int:
    """Return by how much ``decoded`` scales down: equal factors give equal pixels."""
    return _factor(min(structure.width, structure.height), side_px_min)


class Decoded(NamedTuple):
    """The pixels of an image, upright."""

    pixels: Pixels
    turned: bool
    """Whether this exchanged width and height."""


def decoded(
    content: bytes, structure: Structure, side_px_min: int = EMBEDDED_SIDE_PX_MIN
) -> Decoded:
    """Decode, scaled down by 2, 4 or 8 while the shortest side stays at ``side_px_min`` or more.

    The result is turned upright by its EXIF orientation and laid over white where it is
    transparent. ``content`` is the part of the file that is needed. Raises
    ImageUnreadableError if the file is truncated or damaged, MemoryError.
    """
    try:
        if structure.ended:
            return _decode(content, structure, side_px_min)
        return _without_end(content, structure, side_px_min)
    except MemoryError:
        raise
    # Pillow's decoders raise errors of every type for damaged files.
    except Exception:  # noqa: BLE001
        raise ImageUnreadableError from None


def _without_end(content: bytes, structure: Structure, side_px_min: int) -> Decoded:
    """Decode a JPEG that has no end mark, if only the mark is missing.

    The decoder would fill missing pixels with grey. So data is put behind the file, and then its
    opposite, bit for bit: if any pixel depends on it, some of its own data is missing. All pixels
    are compared at full size: smaller ones do not show what later scans refine.
    """
    data = bytes(random.Random(0).choices(range(1, 255), k=64))  # noqa: S311 - any will do
    opposite = bytes(255 - byte for byte in data)
    digests = {_digest(content + filling + _JPEG_END, structure) for filling in (data, opposite)}
    if len(digests) > 1:
        raise ImageUnreadableError
    return _decode(content + _JPEG_END, structure, side_px_min)


def _digest(content: bytes, structure: Structure) -> bytes:
    """Return the SHA-256 of all pixels as they are stored."""
    with Image.open(BytesIO(content), formats=(structure.kind,)) as image:
        image.load()
        digest = hashlib.sha256()
        for top in range(0, image.height, _ROWS):
            digest.update(image.crop((0, top, image.width, top + _ROWS)).tobytes())
        return digest.digest()


def _decode(content: bytes, structure: Structure, side_px_min: int) -> Decoded:
    with Image.open(BytesIO(content), formats=(structure.kind,)) as image:
        if image.size != (structure.width, structure.height):
            raise ImageUnreadableError
        return upright(image, side_px_min)


def upright(image: Image.Image, side_px_min: int = EMBEDDED_SIDE_PX_MIN) -> Decoded:
    """Decode an opened image as ``decoded`` does, whatever its format.

    Raises errors of every type for damaged files.
    """
    key = _colour_key(image)  # before anything else: Pillow forgets the depth when it decodes
    shortest = min(image.size)
    # JPEG scales while it decodes; what draft() could not do, reduce() does afterwards.
    image.draft(None, (side_px_min, side_px_min))
    image.load()
    orientation = _orientation(image)
    image.info.update(key)
    flat = _direct_colour(image)
    left = _factor(shortest, side_px_min) * min(flat.size) // shortest
    if left > 1:
        flat = flat.reduce(left)
    flat = _over_white(flat)
    turned = False
    if isinstance(orientation, int) and orientation in _UPRIGHT:
        flat = flat.transpose(_UPRIGHT[orientation])
        turned = orientation >= _TURNED_FROM
    return Decoded(np.asarray(flat, dtype=np.uint8), turned)


def _factor(shortest_px: int, side_px_min: int) -> int:
    found = 1
    while found < 8 and shortest_px // (found * 2) >= side_px_min:
        found *= 2
    return found


def _orientation(image: Image.Image) -> object:
    if image.format == "TIFF":  # Pillow turns it while it decodes
        return None
    # Pillow also believes what a program wrote beside the EXIF data. Browsers do not, and of a file
    # that needs no fitting it is not even read.
    for name in _NO_EXIF:
        image.info.pop(name, None)
    try:
        return image.getexif().get(_EXIF_ORIENTATION)
    # Damaged metadata is no reason to refuse an image.
    except Exception:  # noqa: BLE001
        return None


def _colour_key(image: Image.Image) -> dict[str, Any]:
    """Return a PNG's transparent colour in the depth that Pillow decodes its samples to."""
    key = image.info.get("transparency")
    if isinstance(image, PngImageFile) and image.tile:
        raw_mode = image.tile[0].args
        if isinstance(key, int) and raw_mode in _GREY_STEPS:
            return {"transparency": key * _GREY_STEPS[raw_mode]}
        if isinstance(key, tuple) and raw_mode == "RGB;16B":
            return {"transparency": tuple(sample >> 8 for sample in key)}
    return {}


def _direct_colour(image: Image.Image) -> Image.Image:
    """Return the image as L, RGB or RGBA; 16-bit greys by their high byte."""
    if image.mode.startswith("I"):
        samples = np.asarray(image)
        grey = Image.fromarray((samples >> 8).astype(np.uint8))
        key = image.info.get("transparency")
        if not isinstance(key, int):
            return grey
        shown = Image.fromarray(np.where(samples == key, 0, 255).astype(np.uint8))
        return Image.merge("RGBA", (grey, grey, grey, shown))
    if image.mode == "RGBA" and image.format == "BMP":
        # Many programs leave the fourth byte of a pixel at zero and mean nothing by it.
        _, most = image.getchannel("A").getextrema()
        if isinstance(most, (int, float)) and most < _BMP_ALPHA_MIN:
            return image.convert("RGB")
    if image.mode in ("L", "RGB", "RGBA") and "transparency" not in image.info:
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")
