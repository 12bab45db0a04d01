"""Compares an image with some stored ones: runs in a worker process.

Knows glances, small copies and corners. Does not know the ranking.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from productsearch_engine.embedding.glance import decoded
from productsearch_engine.embedding.local_features import Corners
from productsearch_engine.images import jpeg
from productsearch_engine.images.errors import ImageUnreadableError
from productsearch_engine.limits import GLANCE_SIDE_PX


def agreeing(glance: bytes, others: Sequence[bytes]) -> bytes:
    """Return how many corners an image shares with each other one: uint16, little endian.

    glance: of the image. others: glances; small copies of images that have none, empty for an image
    without one. One that cannot be read agrees with nothing.
    """
    searched = _corners(glance)
    found = map(_corners, others)
    counts = [0 if searched is None or it is None else searched.agreeing(it) for it in found]
    return np.array(counts, "<u2").tobytes()


def _corners(file: bytes) -> Corners | None:
    is_copy = file[:4] == b"RIFF" and file[8:12] == b"WEBP"
    if not is_copy and not _is_glance(file):
        return None
    grey = decoded(file)
    return None if grey is None else Corners(grey)


def _is_glance(file: bytes) -> bool:
    """Return whether it is a JPEG, and no larger: a copy may have been imported."""
    try:
        structure = jpeg.read(file) if file.startswith(b"\xff\xd8\xff") else None
    except ImageUnreadableError:
        return False
    return structure is not None and max(structure.width, structure.height) <= GLANCE_SIDE_PX
