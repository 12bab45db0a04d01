"""Reads the pixels of an image file as the engine does, but of any size and more formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from productsearch_engine.embedding.interface import Pixels
from productsearch_engine.evaluation.dataset import DatasetError
from productsearch_engine.images import decode

_NAMED = 20


def read(path: Path) -> Pixels:
    """Return the upright pixels of a file. Raises DatasetError if it is no image."""
    try:
        with Image.open(path) as image:
            return decode.upright(image).pixels
    # Pillow's decoders raise errors of every type for damaged files.
    except Exception:  # noqa: BLE001
        raise unreadable([path]) from None


def require_images(paths: Sequence[Path]) -> None:
    """Raise DatasetError if the first bytes of some files are not those of an image."""
    if bad := [path for path in paths if not _begins_as_image(path)]:
        raise unreadable(bad)


def unreadable(paths: Sequence[Path]) -> DatasetError:
    """Return the error that names some files."""
    first, *others = paths
    told = f"{first}: not an image that can be read"
    if others:
        named = ", ".join(str(path) for path in others[:_NAMED])
        told += f"; nor are {len(others)} more: {named}" + ", …" * (len(others) > _NAMED)
    return DatasetError(told)


def _begins_as_image(path: Path) -> bool:
    try:
        with Image.open(path):
            return True
    # Pillow's readers raise errors of every type for damaged files.
    except Exception:  # noqa: BLE001
        return False


def thumbnail(path: Path, side: int) -> Image.Image:
    """Return a small image for a report, its longest side ``side`` pixels."""
    small = Image.fromarray(read(path))
    small.thumbnail((side, side))
    return small
