"""A folder of images, walked in the order of the names."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from productsearch.cli.sources.entry import Entry, SourceError, encodable
from productsearch.cli.sources.reading import read_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from productsearch.cli.sources.template import Mapping

JOURNAL: Final = ".productsearch.journal"
SUFFIXES: Final = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".heic", ".heif", ".gif", ".tif", ".tiff")
)
FIELDS: Final = ("path", "name", "stem", "sku", "folder", "top")
"""What templates can use: the relative path, the file's name with and without its suffix (which is
the own id), the name of its folder, and that of the first folder below the source."""


class Folder:
    """All image files below a folder; hidden ones and other files are left out."""

    def __init__(self, name: str, mapping: Mapping) -> None:
        self.name = name
        self._root = Path(name)
        self._mapping = mapping
        self.is_rejects = False
        self.journal: Path | None = self._root / JOURNAL
        for template in (mapping.brief, mapping.class_id1, mapping.class_id2):
            if template is not None:
                template.check(FIELDS)

    def check(self) -> None:
        """Do nothing: each image is wrong for itself."""

    def entries(self) -> Iterator[Entry]:
        """Yield the image files. Raises SourceError."""
        yield from self._walk("")

    def _walk(self, below: str) -> Iterator[Entry]:
        try:
            with os.scandir(self._root / below) as scanned:
                found = sorted(scanned, key=lambda entry: entry.name)
        except OSError as wrong:
            raise SourceError(f"{self._root / below}: {wrong.strerror}") from None
        for file in found:
            path = f"{below}/{file.name}" if below else file.name
            if file.name.startswith("."):
                continue
            if file.is_dir(follow_symlinks=False):
                yield from self._walk(path)
            elif os.path.splitext(file.name)[1].lower() in SUFFIXES:  # noqa: PTH122 - a str, fast
                yield self._entry(path, file)

    def _entry(self, path: str, file: os.DirEntry[str]) -> Entry:
        values = values_of(path)
        size = mtime_ns = None
        with contextlib.suppress(OSError):  # a link to nowhere: reading it says so
            stat = file.stat()
            size, mtime_ns = stat.st_size, stat.st_mtime_ns
        mapping = self._mapping
        return Entry(
            key=encodable(path),
            image=path,
            sku=encodable(values["stem"]),
            brief=encodable(mapping.brief.fill(values) if mapping.brief else path),
            class_id1=encodable(mapping.class_id(1, values, "")),
            class_id2=encodable(mapping.class_id(2, values, "")),
            size=size,
            mtime_ns=mtime_ns,
        )

    def count(self) -> int:
        """Return how many there are. Raises SourceError."""
        return sum(1 for _ in self.entries())

    def read(self, entry: Entry, bytes_max: int) -> bytes:
        """Return the image. Raises OSError."""
        return read_file(self._root / entry.image, bytes_max)


def values_of(path: str) -> dict[str, str]:
    """Return what templates can use of a path."""
    pure = PurePosixPath(path)
    folders = pure.parent.parts
    return {
        "path": path,
        "name": pure.name,
        "stem": pure.stem,
        "sku": pure.stem,
        "folder": folders[-1] if folders else "",
        "top": folders[0] if folders else "",
    }
