"""A folder of an object storage, such as ``s3://bucket/photos``, by fsspec."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from productsearch.cli.sources.entry import Entry, SourceError
from productsearch.cli.sources.folder import FIELDS, SUFFIXES, values_of
from productsearch.cli.sources.reading import storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from productsearch.cli.sources.template import Mapping


class Bucket:
    """All images below an address; the journal is in the working folder."""

    def __init__(self, name: str, mapping: Mapping) -> None:
        self.name = name
        self._mapping = mapping
        self.is_rejects = False
        self.journal: Path | None = Path(PurePosixPath(name.rstrip("/")).name + ".journal")
        for template in (mapping.brief, mapping.class_id1, mapping.class_id2):
            if template is not None:
                template.check(FIELDS)
        try:
            self._files, self._root = storage().core.url_to_fs(name.rstrip("/"))
        except Exception as wrong:  # noqa: BLE001 - each storage raises its own kinds
            raise SourceError(f"{name}: {wrong}") from None

    def check(self) -> None:
        """Do nothing: each image is wrong for itself."""

    def entries(self) -> Iterator[Entry]:
        """Yield the objects. Raises SourceError."""
        try:
            found: dict[str, Any] = self._files.find(self._root, detail=True)
        except Exception as wrong:  # noqa: BLE001 - each storage raises its own kinds
            raise SourceError(f"{self.name}: {wrong}") from None
        if not found:
            raise SourceError(f"{self.name}: nothing is there")
        mapping = self._mapping
        for address, details in sorted(found.items()):
            path = address[len(self._root) :].lstrip("/")
            if PurePosixPath(path).suffix.lower() not in SUFFIXES:
                continue
            values = values_of(path)
            yield Entry(
                key=path,
                image=path,
                sku=values["stem"],
                brief=mapping.brief.fill(values) if mapping.brief else path,
                class_id1=mapping.class_id(1, values, ""),
                class_id2=mapping.class_id(2, values, ""),
                size=details.get("size"),
                mtime_ns=_version(details),
            )

    def count(self) -> int:
        """Return how many there are. Raises SourceError."""
        return sum(1 for _ in self.entries())

    def read(self, entry: Entry, bytes_max: int) -> bytes:
        """Return the image. Raises OSError."""
        try:
            with self._files.open(f"{self._root}/{entry.image}", "rb") as file:
                content: bytes = file.read(bytes_max + 1)
                return content
        except OSError:
            raise
        except Exception as wrong:  # noqa: BLE001 - each storage raises its own kinds
            raise OSError(f"{type(wrong).__name__}: {wrong}") from None


def _version(details: dict[str, Any]) -> int:
    """Return a number that changes with the object, from what the storage tells of it."""
    told = [str(details.get(name)) for name in ("ETag", "etag", "mtime", "LastModified", "created")]
    digest = hashlib.sha256("\n".join(told).encode()).digest()
    return int.from_bytes(digest[:7])
