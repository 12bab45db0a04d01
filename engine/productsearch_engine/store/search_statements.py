"""The SQL of searches: a text for each plan, composed for a library's own tables.

A page is cut from one ranking, whatever page it is. By an index of the vectors that ranking has two
parts: the first ranks are decided among the first candidates alone, the others among all of them.
Either part may be unfit, which each page sees alike, and is then ranked without the index.

Knows tables and query plans. Runs nothing but ``prefix_of``: ``store.images`` does.
"""

from __future__ import annotations

import enum
from typing import Any, LiteralString

from pgvector import HalfVector
from psycopg import Connection

from productsearch_engine.limits import (
    BUDGET,
    BUDGET_FIRST,
    BUDGET_FIRST_PASSING,
    BUDGET_PASSING,
    BUDGET_PROBE,
    BUDGET_PROBE_PASSING,
    CANDIDATES,
    CROWD,
    CROWD_WIDTH,
    CROWD_WIDTH_LARGE,
    FIRST_CANDIDATES,
    FIRST_CANDIDATES_LARGE,
    FIRST_RANKS,
    LARGE_LIBRARY,
)
from productsearch_engine.store import budgeted
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.plans import Plan
from productsearch_engine.store.statements import ClassFilter, composed

_COLUMNS = 4


class Fit(enum.IntEnum):
    """What candidates by an index are good for: the last column of such a search.

    They are unfit if there are fewer than the library has, or if there is a crowd of equal distance
    among them: an index leads from images of a crowd to each other and past what is beside them,
    and does not find all of the crowd either.
    """

    NOTHING = 0
    FIRST_RANKS = 1
    ALL = 2


def search(library: Library, classes: ClassFilter, plan: Plan) -> bytes:
    """Return a select of one page, nearest first.

    Its columns: sign, cosine distance, brief, and whether it is the very image searched with; then
    perhaps a ``Fit``: ``read`` takes it apart. ``candidates_of`` and ``prefix_of`` say what it
    takes beside the page; ``stored`` is the number of images that pass, so far as it is known.
    """
    if library.nearest and (plan in _FOUND or plan is Plan.BUDGET):
        text = _RANKED.replace("NEAR", _near("near", plan, bucketed=library.bucketed))
        text = text.replace("FIRST", _first(plan)).replace("FITNESS", _fit(plan))
        addend = _PLAIN
    else:
        text = _SEARCH.replace("DISTANCE", _INDEXED if plan is Plan.NEAREST else _EXACT)
        addend = _PLAIN if plan is Plan.CLASSES else _NO_INDEX
    return _composed(text.replace("FILTER", _condition(classes, addend)), library)


def search_after_first(library: Library, classes: ClassFilter, plan: Plan) -> bytes:
    """Return a select of one page whose first ranks are those of ``search`` by an index.

    The others are ranked among all prefixes. ``plan`` says which index.
    """
    by_index = _near("by_index", plan, bucketed=library.bucketed)
    by_prefix = _near("by_prefix", Plan.PREFIXES, bucketed=library.bucketed)
    text = _AFTER_FIRST.replace("BY_INDEX", by_index).replace("BY_PREFIX", by_prefix)
    text = text.replace("FIRST", _first(plan))
    return _composed(text.replace("FILTER", _condition(classes, _PLAIN)), library)


def read(rows: list[tuple[Any, ...]]) -> tuple[list[tuple[Any, ...]], Fit]:
    """Return the images of a search's rows, and what its candidates are good for."""
    fit = Fit(rows[0][4]) if rows and len(rows[0]) > _COLUMNS else Fit.ALL
    return [row[:_COLUMNS] for row in rows if row[0] is not None], fit


def candidates_of(library: Library, start: int, count: int) -> int:
    """Return how many candidates a page needs."""
    return _first_candidates(library) if start + count <= FIRST_RANKS else CANDIDATES


def read_of(start: int, count: int) -> int:
    """Return how many images of the index a page within a budget reads."""
    return BUDGET_FIRST if start + count <= FIRST_RANKS else BUDGET


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


def _composed(text: LiteralString, library: Library) -> bytes:
    is_large = library.image_count > LARGE_LIBRARY
    for name, number in (
        ("{candidates}", CANDIDATES),
        ("{first_candidates}", _first_candidates(library)),
        ("{first_ranks}", FIRST_RANKS),
        ("{budget}", BUDGET),
        ("{budget_first}", BUDGET_FIRST),
        ("{budget_passing}", BUDGET_PASSING),
        ("{budget_first_passing}", BUDGET_FIRST_PASSING),
        ("{budget_probe}", BUDGET_PROBE),
        ("{budget_probe_passing}", BUDGET_PROBE_PASSING),
        ("{crowd}", CROWD),
        ("{crowd_width}", CROWD_WIDTH_LARGE if is_large else CROWD_WIDTH),
    ):
        text = text.replace(name, str(number))
    return composed(text, library)


def _near(name: LiteralString, plan: Plan, *, bucketed: bool) -> LiteralString:
    """Return the candidates of a plan as a query of a name."""
    if plan is Plan.BUDGET:
        return budgeted.NEAR.replace("NAME", name)
    texts, found = (_NEAR_BUCKETED, _FOUND_BUCKETED) if bucketed else (_NEAR, _FOUND)
    return texts.replace("NAME", name).replace("FOUND", found[plan])


def _first(plan: Plan) -> LiteralString:
    """Return how far the first candidates of a plan go."""
    return "{budget_first}" if plan is Plan.BUDGET else "{first_candidates}"


def _fit(plan: Plan) -> LiteralString:
    if plan is Plan.BUDGET:
        return budgeted.FIT
    return _FITS if plan is Plan.PREFIXES else _FIT


def _condition(classes: ClassFilter, addend: LiteralString) -> LiteralString:
    first: LiteralString = f"class_id1{addend} = %(class_id1)s"
    second: LiteralString = f"class_id2{addend} = %(class_id2)s"
    if classes.class_id1 is not None and classes.class_id2 is not None:
        return f"({first} or {second})" if classes.any_class else f"{first} and {second}"
    if classes.class_id1 is not None:
        return first
    return second if classes.class_id2 is not None else "true"


# No index answers for a sum, so PostgreSQL does not begin with a class unless it is told to.
_NO_INDEX: LiteralString = " + 0"
_PLAIN: LiteralString = ""

# The very expression of the index that a library has until its table of prefixes is complete.
_INDEXED: LiteralString = "embedding::halfvec({dimensions}) <=> %(embedding)b"
# The same number; the sum keeps the index out.
_EXACT: LiteralString = "(embedding <=> %(embedding)b) + 0"

# All pages of a query have one plan and one ranking: the window's limit and hnsw.ef_search
# are always the same, MATERIALIZED keeps the page's own limit from the planner, and the sign
# orders equal distances. A scan in relaxed order is sorted once more, which the sum is for.
_SEARCH: LiteralString = """
with ranked as materialized (
    select sign, brief, digest, DISTANCE as distance
    from {images} where FILTER
    order by distance, sign limit {window}
)
select sign, distance, brief, digest = %(digest)s from ranked order by distance + 0, sign
limit %(count)s offset %(start)s
"""

# The sum keeps the index out: all that pass the filter are compared.
_FOUND: dict[Plan, LiteralString] = {
    Plan.NEAREST: """
            select sign, prefix <=> (select nearest_prefix({axes}, %(embedding)b)) as off
            from {nearest} order by off limit {candidates}
""",
    # The filter is the predicate of the class's index; PostgreSQL plans for the number given.
    Plan.CLASS_INDEX: """
            select sign, prefix <=> (select nearest_prefix({axes}, %(embedding)b)) as off
            from {nearest} where FILTER order by off limit {candidates}
""",
    Plan.PREFIXES: """
            select sign, (prefix <=> (select nearest_prefix({axes}, %(embedding)b))) + 0 as off
            from {nearest} where FILTER order by off, sign limit {candidates}
""",
}

# Images are named before their prefixes: locks are taken in this order everywhere.
_NEAR: LiteralString = """NAME as materialized (
    select i.sign, i.brief, i.digest, i.embedding <=> %(embedding)b as distance, c.place, c.off
    from {images} i join (
        select sign, off, row_number() over () as place from (FOUND        ) as found
    ) as c using (sign)
    where i.library_id = {library} and c.place <= %(candidates)s
)"""

# Each shard finds as many as are asked for, and the coordinator takes the nearest of them.
_FOUND_BUCKETED: dict[Plan, LiteralString] = {
    Plan.NEAREST: """
    select bucket, sign, prefix <=> %(prefix)b as off from {nearest}
    order by off limit {candidates}
""",
    Plan.CLASS_INDEX: """
    select bucket, sign, prefix <=> %(prefix)b as off from {nearest} where FILTER
    order by off limit {candidates}
""",
    Plan.PREFIXES: """
    select bucket, sign, (prefix <=> %(prefix)b) + 0 as off from {nearest} where FILTER
    order by off, sign limit {candidates}
""",
}
_NEAR_BUCKETED: LiteralString = """NAME_found as materialized (FOUND),
NAME_placed as materialized (
    select bucket, sign, off, row_number() over (order by off, sign) as place from NAME_found
),
NAME as materialized (
    select i.sign, i.brief, i.digest, i.embedding <=> %(embedding)b as distance, c.place, c.off
    from {images} i join NAME_placed c using (bucket, sign)
    where i.library_id = {library} and c.place <= %(candidates)s
)"""

# How many candidates there are, and how many of them are equally far at the most: of the first ones
# and of all. ``stored`` is the number of images that pass.
_FIT: LiteralString = """
counted as (
    select count(*) as every, count(*) filter (where place <= {first_candidates}) as firsts
    from near group by floor(off / {crowd_width})
),
fit as (
    select case
        when sum(firsts) < least({first_ranks} + 1, %(stored)s) or max(firsts) >= {crowd} then 0
        when sum(every) < least(%(candidates)s, {window}, %(stored)s) or max(every) >= {crowd}
            then 1
        else 2
    end as fit from counted
)"""
_FITS: LiteralString = "fit as (select 2 as fit)"

# Candidates by their prefixes, ranked by their whole vectors. Of the same candidates, so that the
# pages agree, come the first ranks from the first of them and the later ranks from all.
_RANKED: LiteralString = """
with NEAR,
first as (
    select sign from near where place <= FIRST
    order by distance, sign limit {first_ranks}
),
ranked as (
    select near.*, sign in (table first) as is_first from near
    order by is_first desc, distance, sign limit {window}
),
FITNESS,
page as (
    select * from ranked order by is_first desc, distance, sign limit %(count)s offset %(start)s
)
select sign, distance, brief, digest = %(digest)s, coalesce(fit, 0) from fit left join page on true
order by is_first desc, distance, sign
"""

_AFTER_FIRST: LiteralString = """
with BY_INDEX,
BY_PREFIX,
first as (
    select * from by_index where place <= FIRST
    order by distance, sign limit {first_ranks}
),
ranked as (
    select * from (
        select sign, distance, brief, digest, true as is_first from first
        union all
        select sign, distance, brief, digest, false from by_prefix
        where sign not in (select sign from first)
    ) as both_of_them order by is_first desc, distance, sign limit {window}
)
select sign, distance, brief, digest = %(digest)s from ranked
order by is_first desc, distance, sign limit %(count)s offset %(start)s
"""

_PREFIX: LiteralString = "select nearest_prefix({axes}, %(embedding)b)"
