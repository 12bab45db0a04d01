"""The glance of an image: its brightness, so small that a second look takes no time to decode it.

Knows pixels and the sides at which images are compared. Does not know where glances are kept.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from productsearch_engine.embedding.interface import Pixels
from productsearch_engine.limits import GLANCE_SIDE_PX, KEPT_SIDE_PX

Grey = NDArray[np.uint8]
"""Brightness, shape (height, width)."""

QUALITY = 70
"""Of a JPEG that is kept. At 50 it has three quarters of the bytes, and finds a little less."""


def brightness(image: Pixels | Grey) -> Grey:
    """Return the brightness of an image at the side of a glance.

    image: RGB, shape (height, width, 3), or grey, (height, width), any size.
    """
    grey = image
    if image.ndim == 3:
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    if max(grey.shape) > KEPT_SIDE_PX:  # as a small copy is, so that both lose the same
        grey = _scaled(grey, KEPT_SIDE_PX, cv2.INTER_AREA)
    return _scaled(grey, GLANCE_SIDE_PX, cv2.INTER_LINEAR)


def encoded(image: Pixels, quality: int = QUALITY) -> bytes:
    """Return the glance of an image, a grey JPEG: about 4 KB of a photograph."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return cv2.imencode(".jpg", brightness(image), options)[1].tobytes()


def decoded(file: bytes) -> Grey | None:
    """Return the brightness of a glance or a small copy; None if it cannot be decoded."""
    try:
        grey = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error:
        return None
    return None if grey is None else brightness(np.asarray(grey, np.uint8))


def _scaled(grey: Grey, side: int, interpolation: int) -> Grey:
    height, width = (max(1, round(length * side / max(grey.shape))) for length in grey.shape)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=interpolation), np.uint8)
