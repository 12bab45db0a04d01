"""The texts that ``store.search_statements`` composes; ``store.budgeted`` has those of budgets.

Capital words are replaced by parts, names in braces by tables and numbers. Knows tables. Runs
nothing.
"""

from __future__ import annotations

from typing import LiteralString

from productsearch_engine.store.plans import Plan

# No index answers for a sum, so PostgreSQL does not begin with a class unless it is told to.
NO_INDEX: LiteralString = " + 0"
PLAIN: LiteralString = ""

# The very expression of the index that a library has until its table of prefixes is complete.
INDEXED: LiteralString = "embedding::halfvec({dimensions}) <=> %(embedding)b"
# The same number; the sum keeps the index out.
EXACT: LiteralString = "(embedding <=> %(embedding)b) + 0"

# All pages of a query have one plan and one ranking: the window's limit and hnsw.ef_search
# are always the same, MATERIALIZED keeps the page's own limit from the planner, and the sign
# orders equal distances. A scan in relaxed order is sorted once more, which the sum is for.
SEARCH: LiteralString = """
with ranked as materialized (
    select sign, brief, digest, DISTANCE as distance
    from {images} where FILTER
    order by distance, sign limit {window}
)
select sign, distance, brief, digest = %(digest)s from ranked order by distance + 0, sign
limit %(count)s offset %(start)s
"""

# The sum keeps the index out: all that pass the filter are compared.
FOUND: dict[Plan, LiteralString] = {
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
NEAR: LiteralString = """NAME as materialized (
    select i.sign, i.brief, i.digest, i.embedding <=> %(embedding)b as distance, c.place, c.off
    from {images} i join (
        select sign, off, row_number() over () as place from (FOUND        ) as found
    ) as c using (sign)
    where i.library_id = {library} and c.place <= %(candidates)s
)"""

# Each shard finds as many as are asked for, and the coordinator takes the nearest of them.
FOUND_BUCKETED: dict[Plan, LiteralString] = {
    Plan.NEAREST: """NAME_found as materialized (
    select bucket, sign, prefix <=> %(prefix)b as off from {nearest}
    order by off limit {candidates}
)""",
    Plan.CLASS_INDEX: """NAME_found as materialized (
    select bucket, sign, prefix <=> %(prefix)b as off from {nearest} where FILTER
    order by off limit {candidates}
)""",
    Plan.PREFIXES: """NAME_found as materialized (
    select bucket, sign, (prefix <=> %(prefix)b) + 0 as off from {nearest} where FILTER
    order by off, sign limit {candidates}
)""",
}
# An image of both classes comes twice, equally far.
BOTH_BUCKETED: LiteralString = """NAME_of_one as materialized (
    select bucket, sign, prefix <=> %(prefix)b as off from {nearest} where ONE
    order by off limit {candidates}
),
NAME_of_other as materialized (
    select bucket, sign, prefix <=> %(prefix)b as off from {nearest} where OTHER
    order by off limit {candidates}
),
NAME_found as materialized (table NAME_of_one union table NAME_of_other)"""

NEAR_BUCKETED: LiteralString = """FIND,
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
FIT: LiteralString = """
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
FITS: LiteralString = "fit as (select 2 as fit)"

# Candidates by their prefixes, ranked by their whole vectors. Of the same candidates, so that the
# pages agree, come the first ranks from the first of them and the later ranks from all.
RANKED: LiteralString = """
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

AFTER_FIRST: LiteralString = """
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

PREFIX: LiteralString = "select nearest_prefix({axes}, %(embedding)b)"
