"""The fields of a row in a file: each is read and checked, and refused with what would be right.

Knows one row. Does not know the file's head.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, datetime
from typing import Any, Final, NoReturn

import numpy as np

from productsearch_engine.limits import (
    BRIEF_BYTES_MAX,
    CLASS_ID_MAX,
    CLASS_ID_MIN,
    COPY_BYTES_MAX,
)
from productsearch_engine.store import signs
from productsearch_engine.store.libraries import LibraryError
from productsearch_engine.store.originals import Original
from productsearch_engine.store.rows import Row

FIELDS: Final = frozenset(
    (
        *("cont_sign", "digest", "brief", "class_id1", "class_id2", "vector"),
        *("created_at", "updated_at", "copy", "region", "original", "image"),
    )
)
_DIGEST: Final = re.compile(r"[0-9A-Fa-f]{64}")
_SHOWN: Final = 60
_LENGTH_MAX: Final = float(np.finfo(np.float16).max)
"""Of a vector: turned to other axes, none of its numbers may be more than float16 has."""


class RowError(LibraryError):
    """A row of a file is wrong: which one, which field of it, and what would be right."""

    def __init__(self, row: int, field: str, wrong: str):
        self.row, self.field, self.wrong = row, field, wrong
        super().__init__(f"row {row}: field {field}: {wrong}")


class SecondHeadError(RowError):
    """Another file begins in the middle of this one: what follows may be of another embedding."""

    def __init__(self, row: int):
        told = "another file's first line: import each file by itself, or a folder of them"
        super().__init__(row, "format", told)


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A row of a file. Without a vector it has an ``image`` to make one of."""

    number: int
    row: Row
    image: str | None
    """The path of an image file, relative to the file of the rows."""


class Reader:
    """Reads the fields of one row. Raises RowError for the first field that is wrong."""

    def __init__(self, members: Mapping[str, Any], number: int):
        self._members = members
        self._number = number

    def incoming(self, dimensions: int | None) -> Incoming:
        """Return the row; ``dimensions``: of its vector, None if the file does not say."""
        image = self._image()
        digest = self._digest(needed=image is None)
        vector = self._vector(dimensions) if image is None else b""
        return Incoming(
            number=self._number,
            image=image,
            row=Row(
                sign=self._sign(digest),
                digest=digest,
                brief=self._brief(),
                class_id1=self._class_id("class_id1"),
                class_id2=self._class_id("class_id2"),
                vector=vector,
                created_at=self._time("created_at"),
                updated_at=self._time("updated_at"),
                copy=self._copy(),
                region=self._region(),
                original=self._original(),
            ),
        )

    def _wrong(self, field: str, right: str) -> NoReturn:
        value = self._members.get(field)
        what = "it is missing" if value is None else f"{shown(value)} is wrong"
        raise RowError(self._number, field, f"{what}; {right}")

    def _image(self) -> str | None:
        image = self._members.get("image")
        if image is None:
            return None
        if self._members.get("vector") is not None:
            raise RowError(self._number, "image", "a row has a vector or an image, not both")
        if not isinstance(image, str) or not image or "\0" in image or _bytes(image) is None:
            self._wrong("image", "it is the path of a JPEG, PNG or BMP file")
        return image

    def _digest(self, *, needed: bool) -> bytes:
        text = self._members.get("digest")
        if text is None and not needed:
            return b""
        right = "it is the SHA-256 of the image's file, 64 hexadecimal digits"
        # Python would pass over blanks between the digits.
        if not isinstance(text, str) or not _DIGEST.fullmatch(text):
            self._wrong("digest", right)
        return bytes.fromhex(text)

    def _sign(self, digest: bytes) -> int:
        text = self._members.get("cont_sign")
        if text is None:
            return signs.derive(digest, 0) if digest else 0
        sign = signs.from_text(_bytes(text) or b"") if isinstance(text, str) else None
        if sign is None:
            self._wrong("cont_sign", "it is two numbers up to 4294967295, joined with a comma")
        return sign

    def _brief(self) -> bytes:
        text = self._members.get("brief")
        right = f"it is a text of at most {BRIEF_BYTES_MAX} bytes of UTF-8"
        brief = _bytes(text) if isinstance(text, str) else None
        if brief is None or len(brief) > BRIEF_BYTES_MAX:
            self._wrong("brief", right)
        return brief

    def _class_id(self, field: str) -> int | None:
        value = self._members.get(field)
        if value is None:
            return None
        if type(value) is not int or not CLASS_ID_MIN <= value <= CLASS_ID_MAX:
            self._wrong(field, f"it is a number from {CLASS_ID_MIN} to {CLASS_ID_MAX}")
        return value

    def _vector(self, dimensions: int | None) -> bytes:
        value = self._members.get("vector")
        if value is None:
            raise RowError(self._number, "vector", "it is missing, and so is image; one is needed")
        if dimensions is None:
            raise RowError(
                self._number, "vector", "the file's first line does not say of which embedding"
            )
        right = f"it is {dimensions} float16 numbers, little endian, in base64"
        elements = self._elements(value, right)
        if len(elements) != dimensions or not np.isfinite(elements).all():
            self._wrong("vector", right)
        if np.linalg.norm(elements.astype(np.float64)) > _LENGTH_MAX:
            self._wrong(
                "vector", f"its length is at most {_LENGTH_MAX:.0f}, and 1 as engines make it"
            )
        return elements.tobytes()

    def _elements(self, value: object, right: str) -> np.ndarray[Any, Any]:
        if not isinstance(value, str):
            self._wrong("vector", right)
        content = self._base64("vector", value, right)
        if len(content) % 2:
            self._wrong("vector", right)
        return np.frombuffer(content, "<f2")

    def _base64(self, field: str, value: str, right: str) -> bytes:
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            self._wrong(field, right)

    def _time(self, field: str) -> datetime | None:
        value = self._members.get(field)
        if value is None:
            return None
        right = "it is a time with its offset, such as 2026-11-26T05:00:00+00:00"
        try:
            found = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            self._wrong(field, right)
        # At either end of the calendar a time has no counterpart at another offset.
        if found.tzinfo is None or not MINYEAR < found.year < MAXYEAR:
            self._wrong(field, right)
        return found

    def _copy(self) -> bytes | None:
        value = self._members.get("copy")
        if value is None:
            return None
        right = f"it is a WebP file of at most {COPY_BYTES_MAX} bytes in base64"
        if not isinstance(value, str):
            self._wrong("copy", right)
        content = self._base64("copy", value, right)
        if not 0 < len(content) <= COPY_BYTES_MAX or content[8:12] != b"WEBP":
            self._wrong("copy", right)
        return content

    def _region(self) -> tuple[float, ...] | None:
        value = self._members.get("region")
        if value is None:
            return None
        right = "it is left, top, width and height within the image, each 0 to 1"
        numbers = isinstance(value, list) and len(value) == 4
        if not numbers or not all(type(each) in (int, float) for each in value):
            self._wrong("region", right)
        try:
            left, top, width, height = map(float, value)
        except OverflowError:
            self._wrong("region", right)
        inside = left + width <= 1 + 1e-9 and top + height <= 1 + 1e-9
        if not (all(math.isfinite(each) for each in value) and inside and min(left, top) >= 0):
            self._wrong("region", right)
        if min(width, height) <= 0:
            self._wrong("region", right)
        return left, top, width, height

    def _original(self) -> Original | None:
        value = self._members.get("original")
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != 3 or not all(map(_is_size, value)):
            self._wrong("original", "it is width and height in pixels, and bytes, of the file")
        return Original(*value)


def _bytes(text: str) -> bytes | None:
    """Return a text in UTF-8, None if it has halves of characters, which JSON lets it have."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return None


def _is_size(value: object) -> bool:
    return type(value) is int and 0 < value < 1 << 31


def shown(value: object) -> str:
    """Return a value for a message, cut short."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
