"""Reads the pixels of an image file as the engine does, but of any size and more formats."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from productsearch_engine.embedding.interface import Pixels
from productsearch_engine.evaluation.dataset import DatasetError
from productsearch_engine.images import decode


def read(path: Path) -> Pixels:
    """Return the upright pixels of a file. Raises DatasetError if it is no image."""
    try:
        with Image.open(path) as image:
            return decode.upright(image).pixels
    # Pillow's decoders raise errors of every type for damaged files.
    except Exception:  # noqa: BLE001
        raise DatasetError(f"{path}: not an image that can be read") from None


def thumbnail(path: Path, side: int) -> Image.Image:
    """Return a small image for a report, its longest side ``side`` pixels."""
    small = Image.fromarray(read(path))
    small.thumbnail((side, side))
    return small
