"""The SQL of images: one text for each operation, composed for a library's own partition.

Knows tables and query plans. Runs nothing but ``prefix_of``: ``store.images`` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, LiteralString, TypeAlias

from pgvector import HalfVector
from psycopg import Connection, sql

from productsearch_engine.limits import (
    CANDIDATES,
    FIRST_CANDIDATES,
    FIRST_CANDIDATES_LARGE,
    FIRST_RANKS,
    LARGE_LIBRARY,
    WINDOW,
)
from productsearch_engine.store import signs, tables
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.plans import Plan

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


def search(library: Library, classes: ClassFilter, plan: Plan) -> bytes:
    """Return a select of one page, nearest first.

    Its columns: sign, cosine distance, brief, and whether it is the very image searched with.
    ``candidates_of`` and ``prefix_of`` say what it takes beside the page.
    """
    if library.nearest and plan in _FOUND:
        text, addend = _ranked(plan, bucketed=library.bucketed), _PLAIN
    else:
        text = _SEARCH.replace("DISTANCE", _INDEXED if plan is Plan.NEAREST else _EXACT)
        addend = _PLAIN if plan is Plan.CLASSES else _NO_INDEX
    return _composed(text.replace("FILTER", _condition(classes, addend)), library)


def candidates_of(library: Library, start: int, count: int) -> int:
    """Return how many candidates a page needs."""
    return _first_candidates(library) if start + count <= FIRST_RANKS else CANDIDATES


def prefix_of(
    connection: Connection[Any], library: Library, embedding: HalfVector
) -> dict[str, Any]:
    """Return the parameter ``prefix`` of a search by prefixes, or none if the statement makes it.

    On a cluster each shard would make it anew for each row.
    """
    if not library.bucketed:
        return {}
    values = {"embedding": embedding}
    row = connection.execute(_composed(_PREFIX, library), values, binary=True).fetchone()
    return {"prefix": None if row is None else row[0]}


def _first_candidates(library: Library) -> int:
    return FIRST_CANDIDATES if library.image_count <= LARGE_LIBRARY else FIRST_CANDIDATES_LARGE


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


def _ranked(plan: Plan, *, bucketed: bool) -> LiteralString:
    before, candidates, found = (
        (_BEFORE_BUCKETED, _CANDIDATES_BUCKETED, _FOUND_BUCKETED[plan])
        if bucketed
        else ("", _CANDIDATES, _FOUND[plan])
    )
    text = _RANKED.replace("BEFORE", before).replace("CANDIDATES", candidates)
    return text.replace("FOUND", found)


def _condition(classes: ClassFilter, addend: LiteralString) -> LiteralString:
    first: LiteralString = f"class_id1{addend} = %(class_id1)s"
    second: LiteralString = f"class_id2{addend} = %(class_id2)s"
    if classes.class_id1 is not None and classes.class_id2 is not None:
        return f"({first} or {second})" if classes.any_class else f"{first} and {second}"
    if classes.class_id1 is not None:
        return first
    return second if classes.class_id2 is not None else "true"


def _composed(text: LiteralString, library: Library) -> bytes:
    first = _first_candidates(library)
    return _of_tables(
        text,
        library.id,
        library.generation,
        library.dimensions,
        library.axes,
        first,
        library.bucketed,
    )


@lru_cache(maxsize=4096)
def _of_tables(
    text: LiteralString,
    library_id: int,
    generation: int,
    dimensions: int,
    axes: str | None,
    first_candidates: int,
    bucketed: bool,
) -> bytes:
    """Insert the library's tables; psycopg prepares an equal text once a connection."""
    composed = sql.SQL(text).format(
        images=tables.images(library_id, generation),
        nearest=tables.nearest(library_id),
        kept=tables.kept(library_id),
        axes=sql.Literal(axes),
        candidates=sql.Literal(CANDIDATES),
        first_candidates=sql.Literal(first_candidates),
        first_ranks=sql.Literal(FIRST_RANKS),
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

# No index answers for a sum, so PostgreSQL does not begin with a class unless it is told to.
_NO_INDEX: LiteralString = " + 0"
_PLAIN: LiteralString = ""

# The very expression of the index that a library has until its table of prefixes is complete.
_INDEXED: LiteralString = "embedding::halfvec({dimensions}) <=> %(embedding)b"
# The same number; the sum keeps the index out.
_EXACT: LiteralString = "(embedding <=> %(embedding)b) + 0"

# All pages of a query have one plan and one ranking: the window's limit and hnsw.ef_search
# are always the same, MATERIALIZED keeps the page's own limit from the planner, and the sign
# orders equal distances. A page still reads no further than its end.
_SEARCH: LiteralString = """
with ranked as materialized (
    select sign, brief, digest, DISTANCE as distance
    from {images} where FILTER
    order by distance, sign limit {window}
)
select sign, distance, brief, digest = %(digest)s from ranked order by distance, sign
limit %(count)s offset %(start)s
"""

# The sum keeps the index out: all that pass the filter are compared.
_FOUND: dict[Plan, LiteralString] = {
    Plan.NEAREST: """
            select sign from {nearest}
            order by prefix <=> (select nearest_prefix({axes}, %(embedding)b)) limit {candidates}
""",
    # The filter is the predicate of the class's index; PostgreSQL plans for the number given.
    Plan.CLASS_INDEX: """
            select sign from {nearest} where FILTER
            order by prefix <=> (select nearest_prefix({axes}, %(embedding)b)) limit {candidates}
""",
    Plan.PREFIXES: """
            select sign from {nearest} where FILTER
            order by (prefix <=> (select nearest_prefix({axes}, %(embedding)b))) + 0, sign
            limit {candidates}
""",
}

_CANDIDATES: LiteralString = """(
        select sign, row_number() over () as place from (FOUND        ) as by_prefix
    ) as c using (sign)"""

# Candidates by their prefixes, ranked by their whole vectors. Of the same candidates, so that the
# pages agree, come the first ranks from the first of them and the later ranks from all. Images are
# named before their prefixes: locks are taken in this order everywhere.
_RANKED: LiteralString = """
with BEFOREnear as materialized (
    select i.sign, i.brief, i.digest, i.embedding <=> %(embedding)b as distance, c.place
    from {images} i join CANDIDATES
    where i.library_id = {library} and c.place <= %(candidates)s
),
first as (
    select sign from near where place <= {first_candidates}
    order by distance, sign limit {first_ranks}
),
ranked as (
    select near.*, sign in (table first) as is_first from near
    order by is_first desc, distance, sign limit {window}
)
select sign, distance, brief, digest = %(digest)s from ranked
order by is_first desc, distance, sign limit %(count)s offset %(start)s
"""

_PREFIX: LiteralString = "select nearest_prefix({axes}, %(embedding)b)"

# Each shard finds as many as are asked for, and the coordinator takes the nearest of them.
_FOUND_BUCKETED: dict[Plan, LiteralString] = {
    Plan.NEAREST: """
    select bucket, sign, prefix <=> %(prefix)b as distance from {nearest}
    order by distance limit {candidates}
""",
    Plan.CLASS_INDEX: """
    select bucket, sign, prefix <=> %(prefix)b as distance from {nearest} where FILTER
    order by distance limit {candidates}
""",
    Plan.PREFIXES: """
    select bucket, sign, (prefix <=> %(prefix)b) + 0 as distance from {nearest} where FILTER
    order by distance, sign limit {candidates}
""",
}

_CANDIDATES_BUCKETED: LiteralString = "placed c using (bucket, sign)"
_BEFORE_BUCKETED: LiteralString = """found as materialized (FOUND),
placed as materialized (
    select bucket, sign, row_number() over (order by distance, sign) as place from found
),
"""
