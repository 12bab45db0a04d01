"""The line before the images of a file: of which library and embedding they are.

It is ``{"format": "productsearch-library", "version": 1, "embedding": …}``, and may be missing from
a file whose rows bring images instead of vectors. Knows the format. Does not know files or the
database.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final

from productsearch_engine.limits import DIMENSIONS_MAX
from productsearch_engine.store.libraries import Calibration, LibraryError

FORMAT: Final = "productsearch-library"
VERSION: Final = 1
_IMAGES_MAX: Final = 10**12
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class Head:
    """What the first line says of the library."""

    library: str
    embedding: str
    dimensions: int
    images: int
    keep_images: bool
    calibration: Calibration | None = None


def head_line(head: Head) -> str:
    """Return the first line of a file."""
    return json.dumps({"format": FORMAT, "version": VERSION, **asdict(head)}) + "\n"


def read_head(text: bytes) -> Head | None:
    """Return what a first line says, None if it is a row. Raises LibraryError."""
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        return None  # it is read as a row, which says what is wrong with it
    if not isinstance(members, dict) or "format" not in members:
        return None
    if members["format"] != FORMAT or members.get("version") != VERSION:
        raise LibraryError(
            f"line 1: field format: {members['format']!r}, version {members.get('version')!r};"
            f" this engine reads {FORMAT!r}, version {VERSION}"
        )
    try:
        return Head(
            library=_text(members["library"]),
            embedding=_text(members["embedding"]),
            dimensions=_number(members["dimensions"], 1, DIMENSIONS_MAX),
            images=_number(members["images"], 0, _IMAGES_MAX),
            keep_images=_yes_or_no(members["keep_images"]),
            calibration=_calibration(members.get("calibration")),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise LibraryError(f"line 1: it is no head of {FORMAT!r}: {error!r}") from None


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"no printable text: {value!r}")
    return value


def _number(value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"not a number from {least} to {most}: {value!r}")
    return value


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"neither true nor false: {value!r}")
    return value


def _calibration(fitted: Any) -> Calibration | None:
    if fitted is None:
        return None
    cosines, scores = ([float(each) for each in fitted[name]] for name in ("cosines", "scores"))
    if len(cosines) != len(scores) or not all(map(math.isfinite, cosines + scores)):
        raise ValueError("a calibration has as many cosines as scores")
    # Searches look each score up in it: they fail without a knot, and mean nothing if it falls.
    if not cosines or not (_rises(cosines) and _rises([0.0, *scores, 1.0])):
        raise ValueError("a calibration rises, with scores from 0 to 1")
    return Calibration(tuple(cosines), tuple(scores))


def _rises(numbers: list[float]) -> bool:
    """Return whether none is less than the one before, but for rounding."""
    return all(one <= next_one + _ROUNDING for one, next_one in pairwise(numbers))
