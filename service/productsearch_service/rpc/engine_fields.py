"""The fields that only the engine understands: ``region`` and ``rerank``.

The vendor's cloud would ignore them and answer as if they had not been sent, so its libraries
refuse them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from productsearch import v1
from productsearch_service.library.commands import Region

_FOREIGN: Final = (
    "is for libraries of the engine; this one is the vendor's (upstream), leave it out"
)
_ENDS_MAX: Final = 1 + 1e-6
"""A sum of decimal fractions may end a little above 1."""


def region_of(message: v1.NewImage | v1.SearchImagesRequest) -> Region | None:
    """Return the region of a request that was found to be sound."""
    if not message.HasField("region"):
        return None
    box = message.region
    return Region(box.left, box.top, box.width, box.height)


def rerank_of(request: v1.SearchImagesRequest) -> bool | None:
    """Return whether the caller wants a second look; None if the request does not say."""
    return request.rerank if request.HasField("rerank") else None


def wrong_in(
    message: v1.NewImage | v1.SearchImagesRequest, prefix: str, *, engine: bool
) -> Iterator[tuple[str, str]]:
    """Yield path and fault of each wrong field; ``engine``: the upstream is the engine."""
    if not engine:
        if message.HasField("region"):
            yield f"{prefix}region", _FOREIGN
        if isinstance(message, v1.SearchImagesRequest) and message.HasField("rerank"):
            yield f"{prefix}rerank", _FOREIGN
        return
    box = region_of(message)
    if box is not None:
        yield from _wrong_with(box, f"{prefix}region")


def _wrong_with(box: Region, path: str) -> Iterator[tuple[str, str]]:
    for name, value in (("left", box.left), ("top", box.top)):
        if not (math.isfinite(value) and 0 <= value < 1):
            yield f"{path}.{name}", f"{value} is out of range; use 0 to 1, less than 1"
    for name, value, begin in (("width", box.width, box.left), ("height", box.height, box.top)):
        if not (math.isfinite(value) and 0 < value <= 1):
            yield f"{path}.{name}", f"{value} is out of range; use more than 0, up to 1"
        elif begin + value > _ENDS_MAX:
            yield f"{path}.{name}", f"leaves the image; use {max(1 - begin, 0):g} or less"
