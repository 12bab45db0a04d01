"""The format of a library in a file: JSON, one line an image, and a line about all before them.

The first line is ``{"format": "productsearch-library", "version": 1, "embedding": …}``. It may be
missing from a file whose rows bring images instead of vectors. The fields of a row are
``fields``'. Knows the format. Does not know files or the database.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from typing import Final

from productsearch_engine.bulk.fields import FIELDS, Incoming, Reader, RowError, shown
from productsearch_engine.store import signs
from productsearch_engine.store.bulk_rows import Row
from productsearch_engine.store.libraries import Calibration, LibraryError

FORMAT: Final = "productsearch-library"
VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class Head:
    """What the first line says of the library."""

    library: str
    embedding: str
    dimensions: int
    images: int
    keep_images: bool
    calibration: Calibration | None = None


def head_line(head: Head) -> str:
    """Return the first line of a file."""
    return json.dumps({"format": FORMAT, "version": VERSION, **asdict(head)}) + "\n"


def line(row: Row) -> str:
    """Return the line of an image. Equal rows have equal lines."""
    members: dict[str, object] = {
        "cont_sign": signs.to_text(row.sign),
        "digest": row.digest.hex(),
        "brief": row.brief.decode(),
        "class_id1": row.class_id1,
        "class_id2": row.class_id2,
        "created_at": row.created_at and row.created_at.isoformat(),
        "updated_at": row.updated_at and row.updated_at.isoformat(),
        "vector": base64.b64encode(row.vector).decode(),
    }
    if row.copy is not None:
        members["copy"] = base64.b64encode(row.copy).decode()
    if row.region is not None:
        members["region"] = row.region
    if row.original is not None:
        members["original"] = row.original
    return json.dumps(members, ensure_ascii=False) + "\n"


def read_head(text: bytes) -> Head | None:
    """Return what a first line says, None if it is a row. Raises LibraryError."""
    try:
        members = json.loads(text)
    except ValueError:
        return None  # it is read as a row, which says what is wrong with it
    if not isinstance(members, dict) or "format" not in members:
        return None
    if members["format"] != FORMAT or members.get("version") != VERSION:
        raise LibraryError(
            f"line 1: field format: {members['format']!r}, version {members.get('version')!r};"
            f" this engine reads {FORMAT!r}, version {VERSION}"
        )
    fitted = members.get("calibration")
    try:
        return Head(
            library=str(members["library"]),
            embedding=str(members["embedding"]),
            dimensions=int(members["dimensions"]),
            images=int(members["images"]),
            keep_images=bool(members["keep_images"]),
            calibration=fitted and Calibration(tuple(fitted["cosines"]), tuple(fitted["scores"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LibraryError(f"line 1: it is no head of {FORMAT!r}: {error!r}") from None


def read(text: bytes, number: int, head: Head | None) -> Incoming:
    """Return the row of a line. Raises RowError."""
    try:
        members = json.loads(text)
    except ValueError as error:
        raise RowError(number, "(all)", f"no JSON: {error}") from None
    if not isinstance(members, dict):
        raise RowError(number, "(all)", f"not an object: {shown(members)}")
    if unknown := members.keys() - FIELDS:
        raise RowError(number, min(unknown), f"no such field; there is {', '.join(sorted(FIELDS))}")
    dimensions = None if head is None else head.dimensions
    return Reader(members, number).incoming(dimensions)
