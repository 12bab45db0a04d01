"""The rows of a library's second table: images with another embedding's vectors.

Runs in its caller's transaction. ``store.reembeddings`` knows the order of the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from productsearch_engine.embedding.interface import Box, Vectors
from productsearch_engine.store import reembedding_statements, tables
from productsearch_engine.store.images import half
from productsearch_engine.store.libraries import Library, LibraryError
from productsearch_engine.store.reembedding_statements import composed


@dataclass(frozen=True)
class Copy:
    """A stored image's sign, its small copy, and where the product is, if its caller said so."""

    sign: int
    webp: bytes
    region: Box | None = None


@dataclass(frozen=True)
class Claimed:
    """What is known of a second table that stays until the transaction ends."""

    axes: str | None
    has_nearest: bool
    """Whether there is a table of its prefixes."""


def claim(connection: Connection[Any], library: Library, embedding: str) -> Claimed:
    """Keep the second table from being dropped until this transaction ends.

    Raises LibraryError if it is not (or no longer) for this embedding's vectors.
    """
    row = connection.execute(
        "select embedding, nearest_axes, nearest_generation from reembeddings"
        " where library_id = %s for key share",
        [library.id],
    ).fetchone()
    if row is None or row[0] != embedding:
        raise LibraryError(
            f"the change of {library.name!r} to {embedding} was discarded meanwhile, or"
            " the library was deleted"
        )
    return Claimed(axes=row[1], has_nearest=row[2] == library.generation)


def note_nearest(connection: Connection[Any], library: Library, axes: str | None) -> None:
    """Note that the second table has one of prefixes, and their axes."""
    connection.execute(
        "update reembeddings set nearest_generation = %s, nearest_axes = %s where library_id = %s",
        [library.generation, axes, library.id],
    )


def late_copies(connection: Connection[Any], library: Library, signs: Sequence[int]) -> list[Copy]:
    """Return the small copies of images, by their signs; those that there are."""
    rows = connection.execute(
        composed(reembedding_statements.LATE_COPIES, library), {"signs": signs}, binary=True
    ).fetchall()
    return [copy_of(*row) for row in rows]


def copy_of(sign: int, webp: bytes, region: Sequence[float] | None) -> Copy:
    """Return a small copy of its columns."""
    return Copy(sign, webp, None if region is None else Box(*region))


def store(
    connection: Connection[Any],
    library: Library,
    signs: Sequence[int],
    vectors: Vectors,
    claimed: Claimed,
) -> None:
    """Store vectors of images; those of images that were deleted meanwhile are left out."""
    rows = [
        {"sign": sign, "embedding": half(vector), "axes": claimed.axes}
        for sign, vector in zip(signs, vectors, strict=True)
    ]
    texts = reembedding_statements
    text = texts.STORE_BOTH if claimed.has_nearest else texts.STORE
    with connection.cursor() as cursor:
        cursor.executemany(composed(text, library), rows)
    connection.execute(composed(texts.STORED, library), {"signs": list(signs)})


def drop(connection: Connection[Any], library_id: int) -> None:
    """Drop the second table and what is noted of it."""
    connection.execute("delete from reembeddings where library_id = %s", [library_id])
    connection.execute("delete from late_images where library_id = %s", [library_id])
    tables.drop(connection, tables.reembedding(library_id))
