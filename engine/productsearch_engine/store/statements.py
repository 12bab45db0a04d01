"""The SQL of images: one text for each operation, composed for a library's own partition.

``store.search_statements`` has those of searches. Knows tables. Runs nothing: ``store.images``
does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, LiteralString, TypeAlias

from psycopg import sql

from productsearch_engine.limits import WINDOW
from productsearch_engine.store import signs, tables
from productsearch_engine.store.libraries import Library

Key: TypeAlias = bytes | list[int]
"""The images meant: one by its digest, or some by their signs."""

ClassColumn: TypeAlias = Literal["class_id1", "class_id2"]


@dataclass(frozen=True, kw_only=True)
class ClassFilter:
    """The images that a search may return; a class id that is None does not filter."""

    class_id1: int | None
    class_id2: int | None
    any_class: bool
    """True joins two class ids with OR (``tag_logic`` "1"), False with AND."""


def find(library: Library) -> bytes:
    """Return a select of the sign of a digest, and whether its small copy is missing."""
    return _composed(_FIND_KEPT if library.keep_images else _FIND, library)


def add(library: Library) -> bytes:
    """Return an insert whose row is: stored, the sign of a duplicate, places seen, sign taken."""
    return _composed(_ADD.replace("KEPT", _KEPT if library.keep_images else ""), library)


def keep(library: Library) -> bytes:
    """Return an insert of the small copy of an image that is stored."""
    return _composed(_KEEP, library)


def copies(library: Library) -> bytes:
    """Return a select of the small copies of some signs."""
    return _composed(_COPIES, library)


def update(library: Library, key: Key) -> bytes:
    """Return an update of the columns whose value is not null."""
    return _composed(_keyed(_UPDATE, key), library)


def delete(library: Library, key: Key) -> bytes:
    """Return a delete whose row is the number of deleted images."""
    return _composed(_keyed(_DELETE, key), library)


def count(library: Library, column: ClassColumn) -> bytes:
    """Return a select of the number of images of a class, counted no further than asked."""
    return _composed((_COUNT_ALL if library.bucketed else _COUNT)[column], library)


def composed(text: LiteralString, library: Library) -> bytes:
    """Return a text with the library's tables and numbers in it.

    It may name ``{images}``, ``{nearest}``, ``{kept}``, ``{library}`` and ``{window}``; ``{key}``,
    the columns that its tables are joined by; ``{at}`` and ``{among}``, the condition that a row is
    in the ``bucket``, or in one of the ``buckets``, of the parameters (``at``, ``among``).
    """
    return _composed(text, library)


def at(sign: int) -> dict[str, int]:
    """Return the parameters of a statement ``{at}`` a sign."""
    return {"bucket": signs.bucket(sign)}


def at_digest(digest: bytes) -> dict[str, int]:
    """Return the parameters of a statement ``{at}`` a digest."""
    return {"bucket": signs.bucket_of(digest)}


def among(some: Iterable[int]) -> dict[str, list[int]]:
    """Return the parameters of a statement ``{among}`` some signs."""
    return {"buckets": sorted({signs.bucket(sign) for sign in some})}


def among_digests(some: Iterable[bytes]) -> dict[str, list[int]]:
    """Return the parameters of a statement ``{among}`` some digests."""
    return {"buckets": sorted({signs.bucket_of(digest) for digest in some})}


def _keyed(statement: LiteralString, key: Key) -> LiteralString:
    by_digest = isinstance(key, bytes)
    return statement.replace("KEY", "digest = %(key)s" if by_digest else "sign = any(%(key)s)")


def _composed(text: LiteralString, library: Library) -> bytes:
    return _of_tables(
        text,
        library.id,
        library.generation,
        library.dimensions,
        library.axes,
        library.bucketed,
    )


@lru_cache(maxsize=4096)
def _of_tables(
    text: LiteralString,
    library_id: int,
    generation: int,
    dimensions: int,
    axes: str | None,
    bucketed: bool,
) -> bytes:
    """Insert the library's tables; psycopg prepares an equal text once a connection."""
    composed = sql.SQL(text).format(
        images=tables.images(library_id, generation),
        nearest=tables.nearest(library_id),
        kept=tables.kept(library_id),
        axes=sql.Literal(axes),
        library=sql.Literal(library_id),
        dimensions=sql.Literal(dimensions),
        window=sql.Literal(WINDOW + 1),
        key=sql.SQL("library_id, bucket, sign" if bucketed else "library_id, sign"),
        at=sql.SQL(" and bucket = %(bucket)s::int" if bucketed else ""),
        among=sql.SQL(" and bucket = any(%(buckets)s::int[])" if bucketed else ""),
    )
    return composed.as_bytes(None)


_FIND: LiteralString = (
    "select sign, false from {images} where library_id = {library} and digest = %(digest)s{at}"
)

_FIND_KEPT: LiteralString = """
select i.sign, k.webp is null from {images} i left join {kept} k using ({key})
where library_id = {library} and digest = %(digest)s{at}
"""

# The image and the count change in one statement. The stripe that counts is locked last, so only
# while the transaction flushes, and others have stripes of their own (``store.room``). A conflict
# stores nothing; the caller tries again, and the snapshot of that attempt sees the row that this
# one waited for.
_ADD: LiteralString = """
with known as (
    select sign from {images} where library_id = {library} and digest = %(digest)s
),
stripe as (
    select lent from lent_room where library_id = {library} and stripe = %(stripe)s
),
added as (
    insert into {images} (library_id, sign, digest, brief, class_id1, class_id2, embedding,
        width, height, byte_count)
    select {library}, %(sign)s, %(digest)s, %(brief)s, %(class_id1)s::int, %(class_id2)s::int,
        %(embedding)b, %(width)s::int, %(height)s::int, %(byte_count)s::int
    where not exists (table known) and (select lent from stripe) > 0
    on conflict do nothing returning sign
),
counted as (
    update lent_room set lent = lent - 1
    where library_id = {library} and stripe = %(stripe)s and exists (table added) returning lent
)KEPT
select exists (table counted), (table known), coalesce((table stripe), 0), exists (
    select from {images}
    where library_id = {library} and sign = %(sign)s and digest <> %(digest)s
)
"""

_KEPT: LiteralString = """,
kept as (
    insert into {kept} (library_id, sign, webp, region)
    select {library}, sign, %(kept)s::bytea, %(region)s::float8[] from added
    where %(kept)s::bytea is not null
    on conflict (library_id, sign) do update set webp = excluded.webp, region = excluded.region
)"""

# The lock lets no delete overtake: it would leave the copy of an image that is gone.
_KEEP: LiteralString = """
insert into {kept} (library_id, sign, webp, region)
select library_id, sign, %(kept)s, %(region)s::float8[] from {images}
where library_id = {library} and sign = %(sign)s for key share
on conflict do nothing
"""

_COPIES: LiteralString = (
    "select sign, webp from {kept} where library_id = {library} and sign = any(%(signs)s){among}"
)

_UPDATE: LiteralString = """
update {images} set brief = coalesce(%(brief)s, brief),
    class_id1 = coalesce(%(class_id1)s::int, class_id1),
    class_id2 = coalesce(%(class_id2)s::int, class_id2),
    updated_at = now()
where library_id = {library} and KEY
"""

# All or none, so that a caller can delete one by one after the error for an unknown sign.
# Rows are locked in the order of their signs, so overlapping batches do not deadlock.
_DELETE: LiteralString = """
with found as (
    select sign from {images} where library_id = {library} and KEY order by sign for update
),
deleted as (
    delete from {images}
    where library_id = {library} and sign in (table found)
        and (select count(*) from found) = %(wanted)s
    returning sign
),
counted as (
    update libraries set image_count = image_count - (select count(*) from deleted)
    where id = {library} and exists (table deleted)
)
select count(*) from deleted
"""

# Each ends in an index-only scan; the limit ends that.
_COUNT: dict[ClassColumn, LiteralString] = {
    "class_id1": """
select count(*) from (select from {images} where class_id1 = %(class_id)s limit %(enough)s) as c
""",
    "class_id2": """
select count(*) from (select from {images} where class_id2 = %(class_id)s limit %(enough)s) as c
""",
}

# Of a limit Citus would bring all rows to the coordinator; without, each shard counts its own.
_COUNT_ALL: dict[ClassColumn, LiteralString] = {
    "class_id1": "select count(*) from {images} where class_id1 = %(class_id)s",
    "class_id2": "select count(*) from {images} where class_id2 = %(class_id)s",
}
