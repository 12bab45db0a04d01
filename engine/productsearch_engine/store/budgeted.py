"""The SQL of candidates by an index that also leads to images that do not pass: so many are read.

The index is that of all vectors, that of one class of two that an image must have, or those of two
classes of which it needs one: PostgreSQL then merges both, nearest first, and an image of both
classes passes once. Of the nearest images that are read those that pass are the nearest that pass.
Too few of them mean that what passes lies elsewhere, and then none of them is an answer. So the
limit is on what is read, and stands below the filter. Where hardly one of the first few passes, the
rest is not read, nor what lies behind as many as are needed.

Knows tables. Runs nothing.
"""

from __future__ import annotations

from typing import LiteralString

from productsearch_engine.store.plans import Plan

PLANS = frozenset({Plan.BUDGET, Plan.CLASS_BUDGET, Plan.CLASS_UNION})


def near(plan: Plan, scanned: LiteralString) -> LiteralString:
    """Return the candidates of a plan as a query.

    ``scanned`` is the condition of the class whose index is read, for a plan that reads one. Left
    in the text are ``NAME``, that of the query, ``FILTER``, the whole condition, and ``ONE`` and
    ``OTHER``, those of its two classes.
    """
    scan = {
        Plan.BUDGET: _SCAN.replace("WHERE", ""),
        Plan.CLASS_BUDGET: _SCAN.replace("WHERE", f"where {scanned}"),
        Plan.CLASS_UNION: _SCAN_BOTH,
    }[plan]
    return (_READ + (_NEAR_UNION if plan is Plan.CLASS_UNION else _NEAR)).replace("SCAN", scan)


# How far the candidates of the first ranks go.
FIRST: LiteralString = "(select first_end from NAME_ends)"

_SCAN: LiteralString = """
        select sign, off, FILTER as passes from (
            select sign, class_id1, class_id2,
                prefix <=> (select nearest_prefix({axes}, %(embedding)b)) as off
            from {nearest} WHERE order by off limit {budget}
        ) as nearest
"""

# Two scans side by side, of which the nearer image comes next. The limits keep PostgreSQL from
# comparing all images of both.
_SCAN_BOTH: LiteralString = """
        select sign, off, passes from (
            (
                select sign, true as passes,
                    prefix <=> (select nearest_prefix({axes}, %(embedding)b)) as off
                from {nearest} where ONE order by off limit {budget}
            )
            union all
            (
                select sign, (ONE) is not true as passes,
                    prefix <=> (select nearest_prefix({axes}, %(embedding)b)) as off
                from {nearest} where OTHER order by off limit {budget}
            )
        ) as nearest order by off limit {budget}
"""

# One constant limit for all pages, so that all have one order. The scan is in relaxed order: places
# are those in which it comes, the same each time. PostgreSQL reads a CTE no further than those who
# read from it: the probe and the ends go on with one scan.
_READ: LiteralString = """NAME_scan as materialized (
    select sign, off, passes, row_number() over () as place from (SCAN    ) as scanned
),
NAME_probe as materialized (
    select count(*) filter (where passes) as passing from (
        select passes from NAME_scan limit {budget_probe}
    ) as probed
),
NAME_ends as materialized (
    select first_end, case when %(read)s::bigint <= {budget_first} then first_end
        else coalesce((
            select place from NAME_scan where passes offset {budget_enough} - 1 limit 1
        ), {budget}) end as last_end
    from (
        select coalesce((
            select place from (select place, passes from NAME_scan limit {budget_first}) as firsts
            where passes offset {budget_first_enough} - 1 limit 1
        ), {budget_first}) as first_end
        from NAME_probe where passing >= {budget_probe_passing}
    ) as of_first
),
NAME_read as materialized (
    select * from NAME_scan limit coalesce((select last_end from NAME_ends), 0)
),
"""
_NEAR: LiteralString = """NAME as materialized (
    select i.sign, i.brief, i.digest, i.embedding <=> %(embedding)b as distance, r.place, r.off
    from {images} i join NAME_read r using (sign) where i.library_id = {library} and r.passes
)"""
# What the index of the one class has missed may have come by that of the other.
_NEAR_UNION: LiteralString = """NAME as materialized (
    select i.sign, i.brief, i.digest, i.embedding <=> %(embedding)b as distance, r.place, r.off
    from {images} i join (
        select distinct on (sign) sign, place, off from NAME_read order by sign, place
    ) as r using (sign) where i.library_id = {library}
)"""

# A crowd counts whether it passes or not: either way the index does not lead out of it. An image
# that came by both indexes is one.
FIT: LiteralString = """
counted as (
    select count(distinct sign) as every,
        count(distinct sign) filter (where place <= first_end) as firsts,
        count(*) filter (where passes) as every_passing,
        count(*) filter (where passes and place <= first_end) as firsts_passing
    from near_read cross join near_ends group by floor(off / {crowd_width})
),
fit as (
    select case
        when coalesce(sum(firsts_passing), 0) < {budget_first_passing} or max(firsts) >= {crowd}
            then 0
        when sum(every_passing) < {budget_passing} or max(every) >= {crowd} then 1
        else 2
    end as fit from counted
)"""
