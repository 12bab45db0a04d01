"""The lines of a file of images: JSON, one line an image.

``heads`` has the line before them, ``fields`` what each is made of. Knows the format. Does not know
files or the database.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC

from productsearch_engine.bulk.fields import (
    FIELDS,
    Incoming,
    Reader,
    RowError,
    SecondHeadError,
    shown,
)
from productsearch_engine.bulk.heads import Head
from productsearch_engine.store import signs
from productsearch_engine.store.rows import Row


def line(row: Row) -> str:
    """Return the line of an image. Equal rows have equal lines, in any time zone."""
    members: dict[str, object] = {
        "cont_sign": signs.to_text(row.sign),
        "digest": row.digest.hex(),
        "brief": row.brief.decode(),
        "class_id1": row.class_id1,
        "class_id2": row.class_id2,
        "created_at": row.created_at and row.created_at.astimezone(UTC).isoformat(),
        "updated_at": row.updated_at and row.updated_at.astimezone(UTC).isoformat(),
        "vector": base64.b64encode(row.vector).decode(),
    }
    if row.copy is not None:
        members["copy"] = base64.b64encode(row.copy).decode()
    if row.region is not None:
        members["region"] = row.region
    if row.original is not None:
        members["original"] = row.original
    return json.dumps(members, ensure_ascii=False) + "\n"


def read(text: bytes, number: int, head: Head | None) -> Incoming:
    """Return the row of a line. Raises RowError."""
    try:
        members = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError(number, "(all)", f"no JSON: {error}") from None
    if not isinstance(members, dict):
        raise RowError(number, "(all)", f"not an object: {shown(members)}")
    if "format" in members:
        raise SecondHeadError(number)
    if unknown := members.keys() - FIELDS:
        raise RowError(number, min(unknown), f"no such field; there is {', '.join(sorted(FIELDS))}")
    dimensions = None if head is None else head.dimensions
    return Reader(members, number).incoming(dimensions)
