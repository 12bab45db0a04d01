"""The size of the file that was added, which the library itself does not keep.

Nullable columns of images: those that an engine before this one added have none.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Original(NamedTuple):
    """The file of an image: sides in pixels, upright by its EXIF orientation, and bytes."""

    width: int
    height: int
    byte_count: int


NAMES = ("width", "height", "byte_count")
"""The columns, in the order of ``Original``."""


def values(original: Original | None) -> dict[str, int | None]:
    """Return the parameters of a statement that stores an image."""
    return dict(zip(NAMES, original or (None,) * len(NAMES), strict=True))


def of_columns(*columns: Any) -> Original | None:
    """Return what three columns say, None if one of them is null."""
    return None if None in columns else Original(*columns)
