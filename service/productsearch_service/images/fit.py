"""Brings an image inside the upstream's limits: scaled, upright, and as a JPEG.

The same bytes always give the same image, and so the same signature. Decoders of hostile bytes run
here: in a process of its own (``worker``), which has limits of memory and time and no secrets.
"""

from __future__ import annotations

import io
import random
from typing import Final

import pybase64
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

from productsearch_service import limits
from productsearch_service.images import flatten, foreign, inspect
from productsearch_service.images.cost import check_canvas, check_cost, has_all_scans
from productsearch_service.images.inspect import SizeInvalid, TooManyParts, Unreadable

_PLUGINS: Final = (
    AvifImagePlugin, BmpImagePlugin, GifImagePlugin, JpegImagePlugin, MpoImagePlugin,
    PngImagePlugin, TiffImagePlugin, WebPImagePlugin,
)  # fmt: skip
"""Imported by name: for a format without its plugin, Pillow would load all that it has."""
Image.MAX_IMAGE_PIXELS = None  # the limits are checked here, before anything is decoded
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

_FORMATS: Final = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "AVIF")
_TAKEN: Final = "send a JPEG, PNG, BMP, WebP, HEIC, AVIF, GIF or TIFF file"
_DAMAGED: Final = "the image is damaged and cannot be decoded"
_END_MISSING: Final = "the end of the image is missing; send the whole file"
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
"""What makes an image upright that was stored with this EXIF orientation; any other is upright."""
_PNG_ORIENTATION: Final = b"eXIf"
"""Where a PNG's orientation can be; without it its pixels need not be decoded to find out."""
_BESIDE_EXIF: Final = ("xmp", "XML:com.adobe.xmp", "Raw profile type exif")
"""Where Pillow also finds an orientation. Browsers do not look there, nor does the engine."""
_JPEG_COMMENT_BYTES_MAX: Final = 65_533
_JPEG_END: Final = b"\xff\xd9"
_QUALITIES: Final = (92, 85, 75, 65)
_SHRINK: Final = 0.8


def load_decoder(content: bytes) -> None:
    """Load the one decoder that is not there from the start, if ``content`` is for it."""
    if foreign.is_heif(content):
        import pillow_heif  # here, for 10 MB of memory that only HEIC images need

        pillow_heif.options.DECODE_THREADS = 1
        pillow_heif.register_heif_opener()


def fit(content: bytes, memory_bytes: int) -> bytes | None:
    """Return ``content`` brought inside the upstream's limits; None if it is already.

    Upright by its EXIF orientation, first frame of an animation, transparency on white,
    scaled so that the sides fit, and re-encoded as JPEG until the upstream takes its length.
    Raises Unreadable or SizeInvalid, and MemoryError if it would take more than ``memory_bytes``.
    """
    if _is_within_limits(content) and _is_upright(content):
        return None
    check_canvas(content, memory_bytes)
    with _open(content) as image:
        target = _target(image)
        check_cost(image, target, content, memory_bytes)
        return _encode_within(_upright_rgb(image, target, content))


def _is_within_limits(content: bytes) -> bool:
    try:
        inspect.check_sides(content)
    except TooManyParts:
        raise
    except (Unreadable, SizeInvalid):
        return False
    return _short_enough(content)


def _is_upright(content: bytes) -> bool:
    """Whether no orientation says otherwise; an image that cannot be opened has none."""
    if content.startswith(b"\x89PNG") and _PNG_ORIENTATION not in content:
        return True
    try:
        with _open(content) as image:
            return _orientation(image) not in _TURNS
    except Unreadable:
        return True


def _open(content: bytes) -> Image.Image:
    formats = ("HEIF",) if foreign.is_heif(content) else _FORMATS
    try:
        return Image.open(io.BytesIO(content), formats=formats)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - Pillow's header parsers raise many kinds on bad bytes
        raise _unreadable(content) from None


def _unreadable(content: bytes) -> Unreadable:
    """Return the error of an image whose header Pillow cannot read."""
    try:
        inspect.inspect(content)
    except inspect.Damaged as damaged:
        return damaged
    except Unreadable:
        pass
    found = foreign.named(content)
    if found is None:
        return Unreadable(f"no readable image; {_TAKEN}")
    if found.fits:
        return Unreadable(f"{found.name} that cannot be read, perhaps a damaged one; send a JPEG")
    return Unreadable(f"{found.name}; {_TAKEN}")


def _orientation(image: Image.Image) -> int:
    try:
        if image.format == "PNG" and "exif" not in image.info:
            image.load()  # its metadata may stand behind its pixels
        for name in _BESIDE_EXIF:
            image.info.pop(name, None)
        return int(image.getexif().get(_ORIENTATION_TAG, _UPRIGHT))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - broken EXIF: nothing to turn by
        return _UPRIGHT


def _target(image: Image.Image) -> tuple[int, int]:
    """Return the sides nearest to the image's own that are inside the limits."""
    width, height = image.size
    is_jpeg = image.format in ("JPEG", "MPO")
    most = limits.FIT_JPEG_PIXELS_MAX if is_jpeg else limits.FIT_PIXELS_MAX
    if width * height > most:
        raise SizeInvalid(f"{width} x {height} pixels; fit takes up to {most} pixels in all")
    lowest = limits.IMAGE_SIDE_MIN_PX / max(1, min(width, height))
    highest = limits.IMAGE_SIDE_MAX_PX / max(1, width, height)
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


def _upright_rgb(image: Image.Image, target: tuple[int, int], content: bytes) -> Image.Image:
    """Decode (a JPEG at the smallest scale that is enough), flatten, scale, turn."""
    try:
        colour_key = flatten.colour_key(image)
        turn = _TURNS.get(_orientation(image))
        image = _loaded(image, target, content)
        image.info.update(colour_key)
        if image.format == "TIFF":  # Pillow has turned it itself, which may have swapped its sides
            turn, target = None, _target(image)
        rgb = flatten.rgb(image)
    except (MemoryError, SizeInvalid, Unreadable):
        raise
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise many kinds on bad bytes
        if "memory" in str(error):
            raise MemoryError from None
        raise Unreadable(_DAMAGED) from None
    scaled = flatten.resized(rgb, target)
    return scaled if turn is None else scaled.transpose(turn)


def _loaded(image: Image.Image, target: tuple[int, int], content: bytes) -> Image.Image:
    image.draft(None, target)
    try:
        image.load()
    except OSError as error:
        if image.format not in ("JPEG", "MPO") or "truncated" not in str(error):
            raise
        image.close()
        return _loaded_without_end(content, target)
    return image


def _loaded_without_end(content: bytes, target: tuple[int, int]) -> Image.Image:
    """Decode a JPEG that lacks its end marker and nothing else; raise Unreadable otherwise.

    The decoder makes up what is missing. It is decoded twice with different bytes after its end:
    they change the image only if its own data ends too early. What later scans refine shows at
    full size alone.
    """
    digests = set()
    noise = bytes(random.Random(1).choices(range(255), k=4096))  # noqa: S311 - the same each time
    for filling in (noise + _JPEG_END, _JPEG_END):
        image = Image.open(io.BytesIO(content + filling), formats=("JPEG",))
        if not isinstance(image, JpegImagePlugin.JpegImageFile) or not has_all_scans(
            image, content
        ):
            raise Unreadable(_END_MISSING)
        is_progressive = bool(image.info.get("progressive"))
        if not is_progressive:
            image.draft(None, target)
        image.load()
        digests.add(flatten.digest(image))
        if len(digests) > 1:
            raise Unreadable(_END_MISSING)
    if is_progressive:
        image = Image.open(io.BytesIO(content + _JPEG_END), formats=("JPEG",))
        image.draft(None, target)
        image.load()
    return image


def _encode_within(image: Image.Image) -> bytes:
    """Return a JPEG that fits: lower quality first, then smaller, never below the least side."""
    if len(image.info.get("comment", "")) > _JPEG_COMMENT_BYTES_MAX:
        del image.info["comment"]  # of another format; a JPEG cannot hold it
    while True:
        for quality in _QUALITIES:
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=quality, optimize=False)
            encoded = buffer.getvalue()
            if _short_enough(encoded):
                return encoded
        image = flatten.resized(image, _scaled(image.size, _SHRINK))


def _short_enough(content: bytes) -> bool:
    """Whether the upstream takes the length of this image's form value: base64, then escaped."""
    if 4 * ((len(content) + 2) // 3) > limits.IMAGE_ENCODED_BYTES_MAX:
        return False
    text = pybase64.b64encode(content)
    escapes = sum(text.count(character) for character in (b"+", b"/", b"="))
    return len(text) + 2 * escapes <= limits.IMAGE_ENCODED_BYTES_MAX
