"""Cuts the region of a product out of an image.

Knows pixels and boxes. Does not know who found the box.
"""

from __future__ import annotations

from productsearch_engine.embedding.interface import Box, Pixels


def cut(image: Pixels, box: Box) -> Pixels:
    """Return the part of an image inside a box, of at least one pixel; shares its memory."""
    height, width = image.shape[:2]
    left = min(max(round(box.left * width), 0), width - 1)
    top = min(max(round(box.top * height), 0), height - 1)
    right = max(round((box.left + box.width) * width), left + 1)
    bottom = max(round((box.top + box.height) * height), top + 1)
    return image[top:bottom, left:right]
