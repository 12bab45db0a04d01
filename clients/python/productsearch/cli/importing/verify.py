"""Proves an import: some of its images, altered as a camera would, must be found first."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING, Final

from productsearch.cli.failures import missing_extra
from productsearch.cli.importing.deciding import IMAGE_BYTES_MAX
from productsearch.cli.searches import best_hit
from productsearch.cli.sources import Entry

if TYPE_CHECKING:
    from productsearch.cli.importing.settings import Settings
    from productsearch.cli.journal import Journal, Row
    from productsearch.cli.sources import Source
    from productsearch.v1 import ProductSearchStub, SearchResult

_SIDE_PX: Final = 800


def altered(content: bytes, chance: random.Random) -> bytes:
    """Return the image turned a little, cropped, in another light and saved again, as a JPEG."""
    try:
        from PIL import Image, ImageEnhance, ImageOps
    except ModuleNotFoundError:
        raise missing_extra("images", "--verify") from None
    with Image.open(io.BytesIO(content)) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    image.thumbnail((_SIDE_PX, _SIDE_PX))
    image = image.rotate(chance.uniform(-1.5, 1.5), Image.Resampling.BICUBIC)
    # What is cut off is more than the corners that turning leaves black.
    left, top = (round(side * chance.uniform(0.03, 0.05)) for side in image.size)
    image = image.crop((left, top, image.width - left, image.height - top))
    image = ImageEnhance.Brightness(image).enhance(chance.uniform(0.9, 1.1))
    image = ImageEnhance.Contrast(image).enhance(chance.uniform(0.9, 1.1))
    saved = io.BytesIO()
    image.save(saved, "JPEG", quality=75)
    return saved.getvalue()


def verify(
    stub: ProductSearchStub, source: Source, journal: Journal, settings: Settings, count: int
) -> tuple[int, list[tuple[Row, str]]]:
    """Return how many images were tried, and those not found first, each with what was.

    That is the key of another row, a signature that the journal does not know, or "nothing".
    Raises Failure.
    """
    chance = random.Random(count)  # noqa: S311 - a sample
    tried = 0
    missed: list[tuple[Row, str]] = []
    for row in _sample(journal, count, chance):
        entry = Entry(key=row.key, image=row.image)
        if entry.is_url and not settings.fetch:
            continue
        try:
            content = altered(source.read(entry, IMAGE_BYTES_MAX), chance)
        except (OSError, ValueError):
            continue  # gone, or of a format that is not read here
        tried += 1
        hit = best_hit(stub, settings.library, content, settings.call_timeout_s)
        if hit is None or hit.cont_sign != row.cont_sign:
            missed.append((row, _named(journal, hit)))
    return tried, missed


def _named(journal: Journal, hit: SearchResult | None) -> str:
    if hit is None:
        return "nothing"
    users = journal.users_of(hit.cont_sign)
    return f"{users[0].key} ({hit.cont_sign})" if users else hit.cont_sign


def _sample(journal: Journal, count: int, chance: random.Random) -> list[Row]:
    """Return ``count`` of the rows that are in the library, each as likely as any other."""
    chosen: list[Row] = []
    for number, row in enumerate(journal.in_library()):
        if number < count:
            chosen.append(row)
        elif (place := chance.randrange(number + 1)) < count:
            chosen[place] = row
    return chosen
