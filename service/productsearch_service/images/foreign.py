"""Names what was sent in place of an image that can be read, by its first bytes.

A phone's HEIC, a web page under the name of a JPEG and base64 text are mistakes of three kinds:
who is told which it was can mend it. Knows signatures of files. Does not decide what is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_HEIF_BRANDS: Final = {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"}
_AVIF_BRANDS: Final = {b"avif", b"avis"}
_TEXT_BYTES: Final = 512
"""So far a text is read for what it is."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A kind of file, with its article; ``fits``: whether ``fit`` reads it."""

    name: str
    fits: bool = False


_HEIC: Final = Foreign("a HEIC image", fits=True)
_AVIF: Final = Foreign("an AVIF image", fits=True)
_VIDEO: Final = Foreign("a video")
_TIFF: Final = Foreign("a TIFF image", fits=True)
_PAGE: Final = Foreign("a web page")
_SVG: Final = Foreign("an SVG drawing")
_BASE64: Final = Foreign("base64 text in place of the bytes themselves")

_SIGNATURES: Final[tuple[tuple[bytes, Foreign], ...]] = (
    (b"GIF8", Foreign("a GIF image", fits=True)),
    (b"II*\0", _TIFF),
    (b"MM\0*", _TIFF),
    (b"\xff\x0a", Foreign("a JPEG XL image")),
    (b"\0\0\0\x0cJXL ", Foreign("a JPEG XL image")),
    (b"\0\0\0\x0cjP  ", Foreign("a JPEG 2000 image")),
    (b"\xff\x4f\xff\x51", Foreign("a JPEG 2000 image")),
    (b"\0\0\1\0", Foreign("an icon (ICO)")),
    (b"8BPS", Foreign("a Photoshop document")),
    (b"%PDF", Foreign("a PDF document")),
    (b"PK\3\4", Foreign("a ZIP archive")),
    (b"\x1f\x8b", Foreign("a gzip archive")),
    (b"\x1aE\xdf\xa3", _VIDEO),
)
_TEXTS: Final[tuple[tuple[bytes, Foreign], ...]] = (
    (b"<!doctype html", _PAGE),
    (b"<html", _PAGE),
    (b"<svg", _SVG),
    (b"data:image/", Foreign("a data URI in place of the bytes themselves")),
    (b"/9j/", _BASE64),
    (b"ivborw0kggo", _BASE64),
    (b"uklgr", _BASE64),
    (b'{"', Foreign("JSON text")),
)
"""In small letters, and as bytes that no image begins with."""


def named(content: bytes) -> Foreign | None:
    """Return what ``content`` is if it is known and no JPEG, PNG or BMP."""
    if content[4:8] == b"ftyp":
        return _of_boxes(content)
    if content.startswith(b"RIFF") and content[8:12] in (b"WEBP", b"AVI "):
        return _VIDEO if content[8:12] == b"AVI " else Foreign("a WebP image", fits=True)
    for signature, foreign in _SIGNATURES:
        if content.startswith(signature):
            return foreign
    return _of_text(content[:_TEXT_BYTES])


def is_heif(content: bytes) -> bool:
    """Whether this is a HEIC: AVIF files may have the same general brand first."""
    return content[4:8] == b"ftyp" and _of_boxes(content) is _HEIC


def _of_boxes(content: bytes) -> Foreign:
    box = content[8 : min(int.from_bytes(content[:4]), 256)]
    brands = {box[at : at + 4] for at in range(0, len(box), 4)}
    if content[8:12] in _HEIF_BRANDS and not brands & _AVIF_BRANDS:
        return _HEIC
    return _AVIF if brands & _AVIF_BRANDS else _VIDEO


def _of_text(start: bytes) -> Foreign | None:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<?xml"):
        return _SVG if b"<svg" in text else _PAGE if b"<html" in text else None
    return next((foreign for sign, foreign in _TEXTS if text.startswith(sign)), None)
