"""Cuts the region of a product out of an image.

Knows pixels and boxes. Does not know who found the box.
"""

from __future__ import annotations

import math

from productsearch_engine.embedding.interface import Box, Pixels


def cut(image: Pixels, box: Box) -> Pixels:
    """Return the part of an image inside a box, of at least one pixel; shares its memory."""
    height, width = image.shape[:2]
    left = min(math.floor(box.left * width), width - 1)
    top = min(math.floor(box.top * height), height - 1)
    right = max(math.ceil((box.left + box.width) * width), left + 1)
    bottom = max(math.ceil((box.top + box.height) * height), top + 1)
    return image[max(top, 0) : bottom, max(left, 0) : right]
