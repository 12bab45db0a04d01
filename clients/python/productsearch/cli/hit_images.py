"""The images behind the hits of a search, from the journal of what was imported; thumbnails."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from productsearch.cli import looking_up
from productsearch.cli.failures import Failure, missing_extra
from productsearch.cli.importing.deciding import IMAGE_BYTES_MAX
from productsearch.cli.sources import Entry, Mapping, open_source
from productsearch.cli.sources.entry import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable

SIDE_PX: Final = 240


def images_of(signs: Iterable[str], source: str, library: str) -> dict[str, bytes]:
    """Return the images of the signatures that the journal of ``source`` knows, as PNG thumbnails.

    What is not known, or cannot be read any more, is left out.
    """
    found: dict[str, bytes] = {}
    try:
        opened = open_source(source, Mapping())
        with looking_up.opened(source, None, library) as journal:
            for sign in signs:
                for row in journal.users_of(sign)[:1]:
                    entry = Entry(key=row.key, image=row.image)
                    if not entry.is_url:
                        found[sign] = thumbnail(opened.read(entry, IMAGE_BYTES_MAX))
    except (Failure, SourceError, OSError):
        return found
    return {sign: png for sign, png in found.items() if png}


def thumbnail(content: bytes) -> bytes:
    """Return a small PNG of an image; nothing of one that cannot be read here. Raises Failure."""
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError:
        raise missing_extra("images", "drawing images") from None
    try:
        with Image.open(io.BytesIO(content)) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except Exception:  # noqa: BLE001 - Pillow raises many kinds on bad bytes
        return b""
    image.thumbnail((SIDE_PX, SIDE_PX))
    saved = io.BytesIO()
    image.save(saved, "PNG")
    return saved.getvalue()
