"""Looks at a picture's header, and brings a picture inside the upstream's limits (``fit``).

Checking reads the header only: a picture that lies about itself further down is found out by
the upstream. Knows no requests, no gRPC and no upstream.
"""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass
from typing import Final, cast

from PIL import Image

from productsearch_service import headers, limits
from productsearch_service.upstream import form

Image.MAX_IMAGE_PIXELS = None  # limits.FIT_PIXELS_MAX is checked here, before any decoding

_SENT_AS_IS: Final = ("JPEG", "PNG", "BMP")
_TRANSCODED: Final = ("WEBP", "GIF", "TIFF")
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
"""What makes a picture upright that was stored with this EXIF orientation."""
_QUALITIES: Final = (92, 85, 75, 65)
_SHRINK: Final = 0.8

_decoding = threading.BoundedSemaphore(limits.FIT_AT_ONCE)


class Unreadable(ValueError):
    """The bytes are no picture of a kind that is read here."""


class SizeInvalid(ValueError):
    """The picture's sides or bytes are outside the limits; the text says how."""


@dataclass(frozen=True, slots=True)
class Header:
    """Format (a Pillow name) and sides in pixels, as the file's header states them."""

    format: str
    width: int
    height: int


def inspect(content: bytes) -> Header:
    """Return the header of a JPEG, PNG or BMP; raise Unreadable for anything else."""
    plain = headers.read(content)
    if plain is not None:
        return Header(*plain)
    with _open(content, _SENT_AS_IS) as picture:
        return Header(picture.format or "", *picture.size)


def check(content: bytes) -> form.Pieces | None:
    """Raise Unreadable or SizeInvalid unless the upstream takes this picture as it is.

    Returns the picture as a form holds it, if that had to be made to know its length.
    """
    length, escaped = form.measure(content, limits.IMAGE_ENCODED_BYTES_MAX)
    if length > limits.IMAGE_ENCODED_BYTES_MAX:
        raise SizeInvalid(
            f"{length} bytes after base64 and urlencoding; "
            f"at most {limits.IMAGE_ENCODED_BYTES_MAX} are allowed (about 2.9 MB as a file)"
        )
    header = inspect(content)
    if not _sides_fit(header.width, header.height):
        raise SizeInvalid(
            f"{header.width} x {header.height} pixels; the shortest side must be at least "
            f"{limits.IMAGE_SIDE_MIN_PX}, the longest at most {limits.IMAGE_SIDE_MAX_PX}"
        )
    return escaped


def fit(content: bytes) -> bytes:
    """Return ``content`` brought inside the upstream's limits; unchanged where it is already.

    Upright by its EXIF orientation, first frame of an animation, transparency on white,
    scaled so that the sides fit, and re-encoded as JPEG until the encoded length fits. The
    same bytes always give the same picture. Raises Unreadable or SizeInvalid.
    """
    with _open(content, (*_SENT_AS_IS, *_TRANSCODED)) as picture:
        target = _target(picture)
        turn = _orientation(picture)
        as_it_is = picture.format in _SENT_AS_IS and target == picture.size and turn == _UPRIGHT
        if as_it_is and _short_enough(content):
            return content
        with _decoding:
            return _encode_within(_upright_rgb(picture, target))


def _open(content: bytes, formats: tuple[str, ...]) -> Image.Image:
    if _is_heif(content) and "WEBP" in formats:
        import pillow_heif  # here, for 10 MB of memory that only HEIC pictures need

        pillow_heif.register_heif_opener()
        formats = ("HEIF",)
    try:
        return Image.open(io.BytesIO(content), formats=formats)
    except Exception:  # noqa: BLE001 - Pillow's header parsers raise many kinds on bad bytes
        wanted = "JPEG, PNG or BMP"
        if "WEBP" in formats or "HEIF" in formats:
            wanted = "JPEG, PNG, BMP, WebP, HEIC, GIF or TIFF"
        raise Unreadable(f"no readable picture; send a {wanted} file") from None


def _is_heif(content: bytes) -> bool:
    return content[4:8] == b"ftyp" and content[8:12] in (
        b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1",
    )  # fmt: skip


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(_ORIENTATION_TAG, _UPRIGHT))
    except Exception:  # noqa: BLE001 - broken EXIF: nothing to turn by
        return _UPRIGHT


def _sides_fit(width: int, height: int) -> bool:
    return (
        min(width, height) >= limits.IMAGE_SIDE_MIN_PX
        and max(width, height) <= limits.IMAGE_SIDE_MAX_PX
    )


def _target(picture: Image.Image) -> tuple[int, int]:
    """Return the sides nearest to the picture's own that are inside the limits."""
    width, height = picture.size
    most = limits.FIT_JPEG_PIXELS_MAX if picture.format == "JPEG" else limits.FIT_PIXELS_MAX
    if width * height > most:
        raise SizeInvalid(f"{width} x {height} pixels; fit takes up to {most} pixels in all")
    lowest = limits.IMAGE_SIDE_MIN_PX / min(width, height)
    highest = limits.IMAGE_SIDE_MAX_PX / max(width, height)
    if lowest > highest:
        raise SizeInvalid(
            f"{width} x {height} pixels cannot be scaled into "
            f"{limits.IMAGE_SIDE_MIN_PX} to {limits.IMAGE_SIDE_MAX_PX}; crop the picture"
        )
    return _scaled(picture.size, min(max(1.0, lowest), highest))


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    low, high = limits.IMAGE_SIDE_MIN_PX, limits.IMAGE_SIDE_MAX_PX
    width, height = (min(max(round(side * scale), low), high) for side in size)
    return width, height


def _upright_rgb(picture: Image.Image, target: tuple[int, int]) -> Image.Image:
    """Decode (a JPEG at the smallest scale that is enough), flatten, scale, turn."""
    try:
        turn = _TURNS.get(_orientation(picture))
        picture.draft(None, target)
        picture.load()
        rgb = _rgb(picture)
    except Exception:  # noqa: BLE001 - Pillow's decoders raise many kinds on bad bytes
        raise Unreadable("the picture is damaged and cannot be decoded") from None
    scaled = rgb if rgb.size == target else rgb.resize(target, Image.Resampling.LANCZOS)
    return scaled if turn is None else scaled.transpose(turn)


def _rgb(picture: Image.Image) -> Image.Image:
    """Return the picture in 8-bit RGB: 16-bit scaled down, transparency on white."""
    if picture.mode.startswith(("I", "F")):
        # Pillow clips these modes at 255; a 16-bit picture would come out white.
        low, high = cast("tuple[float, float]", picture.convert("F").getextrema())
        factor = 1.0 if low >= 0 and high <= 255 else 255 / 65535
        return picture.convert("F").point(lambda value: value * factor + 0).convert("RGB")
    if picture.has_transparency_data:
        layers = picture.convert("RGBA")
        white = Image.new("RGB", layers.size, "white")
        white.paste(layers, mask=layers)
        return white
    return picture.convert("RGB")


def _encode_within(picture: Image.Image) -> bytes:
    """Return a JPEG that fits: lower quality first, then smaller, never below the least side."""
    while True:
        for quality in _QUALITIES:
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=quality, optimize=False)
            encoded = buffer.getvalue()
            if _short_enough(encoded):
                return encoded
        smaller = _scaled(picture.size, _SHRINK)
        picture = picture.resize(smaller, Image.Resampling.LANCZOS)


def _short_enough(content: bytes) -> bool:
    most = limits.IMAGE_ENCODED_BYTES_MAX
    length, escaped = form.measure(content, most)
    form.release(escaped or ())
    return length <= most
