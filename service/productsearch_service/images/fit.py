"""Brings an image inside the upstream's limits: scaled, upright, and as a JPEG.

The same bytes always give the same image, and so the same signature.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final, cast

from PIL import Image

from productsearch_service import limits
from productsearch_service.images.inspect import SENT_AS_IS, SizeInvalid, Unreadable, open_image

_TRANSCODED: Final = ("WEBP", "GIF", "TIFF")
_HEIF_BRANDS: Final = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_WANTED: Final = "no readable image; send a JPEG, PNG, BMP, WebP, HEIC, GIF or TIFF file"
_ORIENTATION_TAG: Final = 0x0112
_UPRIGHT: Final = 1
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright that was stored with this EXIF orientation."""
_QUALITIES: Final = (92, 85, 75, 65)
_SHRINK: Final = 0.8


def fit(content: bytes, short_enough: Callable[[bytes], bool]) -> bytes:
    """Return ``content`` brought inside the upstream's limits; unchanged where it is already.

    Upright by its EXIF orientation, first frame of an animation, transparency on white,
    scaled so that the sides fit, and re-encoded as JPEG until it is ``short_enough``, which tells
    whether the upstream takes the length of a file. Raises Unreadable or SizeInvalid.
    """
    with _open(content) as image:
        target = _target(image)
        upright = _orientation(image) == _UPRIGHT
        as_it_is = image.format in SENT_AS_IS and target == image.size and upright
        if as_it_is and short_enough(content):
            return content
        return _encode_within(_upright_rgb(image, target), short_enough)


def _open(content: bytes) -> Image.Image:
    if content[4:8] == b"ftyp" and content[8:12] in _HEIF_BRANDS:
        import pillow_heif  # here, for 10 MB of memory that only HEIC images need

        pillow_heif.register_heif_opener()
        return open_image(content, ("HEIF",), _WANTED)
    return open_image(content, (*SENT_AS_IS, *_TRANSCODED), _WANTED)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, _UPRIGHT))
    except Exception:  # noqa: BLE001 - broken EXIF: nothing to turn by
        return _UPRIGHT


def _target(image: Image.Image) -> tuple[int, int]:
    """Return the sides nearest to the image's own that are inside the limits."""
    width, height = image.size
    most = limits.FIT_JPEG_PIXELS_MAX if image.format == "JPEG" else limits.FIT_PIXELS_MAX
    if width * height > most:
        raise SizeInvalid(f"{width} x {height} pixels; fit takes up to {most} pixels in all")
    lowest = limits.IMAGE_SIDE_MIN_PX / min(width, height)
    highest = limits.IMAGE_SIDE_MAX_PX / max(width, height)
    if lowest > highest:
        raise SizeInvalid(
            f"{width} x {height} pixels cannot be scaled into "
            f"{limits.IMAGE_SIDE_MIN_PX} to {limits.IMAGE_SIDE_MAX_PX}; crop the image"
        )
    return _scaled(image.size, min(max(1.0, lowest), highest))


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    low, high = limits.IMAGE_SIDE_MIN_PX, limits.IMAGE_SIDE_MAX_PX
    width, height = (min(max(round(side * scale), low), high) for side in size)
    return width, height


def _upright_rgb(image: Image.Image, target: tuple[int, int]) -> Image.Image:
    """Decode (a JPEG at the smallest scale that is enough), flatten, scale, turn."""
    try:
        turn = _TURNS.get(_orientation(image))
        image.draft(None, target)
        image.load()
        rgb = _rgb(image)
    except Exception:  # noqa: BLE001 - Pillow's decoders raise many kinds on bad bytes
        raise Unreadable("the image is damaged and cannot be decoded") from None
    scaled = rgb if rgb.size == target else rgb.resize(target, Image.Resampling.LANCZOS)
    return scaled if turn is None else scaled.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    """Return the image in 8-bit RGB: 16-bit scaled down, transparency on white."""
    if image.mode.startswith(("I", "F")):
        # Pillow clips these modes at 255; a 16-bit image would come out white.
        low, high = cast("tuple[float, float]", image.convert("F").getextrema())
        factor = 1.0 if low >= 0 and high <= 255 else 255 / 65535
        return image.convert("F").point(lambda value: value * factor + 0).convert("RGB")
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        white = Image.new("RGB", layers.size, "white")
        white.paste(layers, mask=layers)
        return white
    return image.convert("RGB")


def _encode_within(image: Image.Image, short_enough: Callable[[bytes], bool]) -> bytes:
    """Return a JPEG that fits: lower quality first, then smaller, never below the least side."""
    while True:
        for quality in _QUALITIES:
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=quality, optimize=False)
            encoded = buffer.getvalue()
            if short_enough(encoded):
                return encoded
        image = image.resize(_scaled(image.size, _SHRINK), Image.Resampling.LANCZOS)
