"""The rejects file: a CSV of what was rejected and why, to be mended and imported again."""

from __future__ import annotations

import csv
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from productsearch.cli.journal import REJECTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from productsearch.cli.journal import Journal, Row
    from productsearch.cli.sources import Source

COLUMNS: Final = (
    *("key", "image", "sku", "brief", "class_id1", "class_id2"),
    *("reason", "message", "journal"),
)


def default_path(source: Source) -> Path:
    """Return where the rejects of a source go: inside a folder, beside a list."""
    if source.is_rejects:
        return Path(source.name)
    assert source.journal is not None  # noqa: S101 - checked before an import begins
    path = Path(source.name)
    if path.is_dir():
        return path / "rejects.csv"
    if "://" in source.name:
        return source.journal.with_suffix(".rejects.csv")
    return path.with_name(f"{path.stem}.rejects.csv")


def write(file: Path, keys: Iterable[str], journal: Journal, source: Source) -> int:
    """Replace the file by the rejects with these keys; return how many there are.

    Without any, a rejects file that is there is removed. Raises OSError.
    """
    place = os.path.relpath(journal.file, file.parent)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".rejects-", text=True)
    count = 0
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as written:
            table = csv.writer(written)
            table.writerow(COLUMNS)
            for row in _rejected(keys, journal):
                image = _reachable(row.image, source, journal.file.parent, file.parent)
                told = (row.key, image, *row.told, row.reason, row.message, place)
                table.writerow(text.encode("utf-8", "replace").decode() for text in told)
                count += 1
        Path(name).chmod(0o644)
        if count:
            Path(name).replace(file)
        elif _is_ours(file):
            file.unlink()
    finally:
        with suppress(OSError):
            Path(name).unlink()
    return count


def _rejected(keys: Iterable[str], journal: Journal) -> Iterator[Row]:
    for key in sorted({*keys}):
        yield from (row for row in journal.rows_of(key) if row.state == REJECTED)


def _reachable(image: str, source: Source, here: Path, there: Path) -> str:
    """Return how an image of the source in ``here`` is named by a file in ``there``."""
    if "://" in image or not image or os.path.isabs(image):  # noqa: PTH117 - a str
        return image
    if "://" in source.name:
        return f"{source.name.rstrip('/')}/{image}"
    if source.is_rejects:
        here = Path(source.name).parent
    return os.path.relpath(here / image, there)


def _is_ours(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8") as lines:
            return lines.readline().strip().split(",") == [*COLUMNS]
    except (OSError, UnicodeDecodeError):
        return False
