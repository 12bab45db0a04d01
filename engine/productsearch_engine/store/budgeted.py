"""The SQL of a filter's candidates by the index of all vectors: so many read, not so many found.

Of the nearest images that the index reads those that pass are the nearest that pass. Too few of
them mean that what passes lies elsewhere, and then none of them is an answer. So the limit is on
what is read, and stands below the filter. A probe of fewer images comes first: where hardly one of
them passes, the rest is not read.

Knows tables. Runs nothing.
"""

from __future__ import annotations

from typing import LiteralString

# One constant limit for all pages, so that all have one order; each page reads as far as it needs.
# The scan is in relaxed order: places are those in which it comes, the same each time.
NEAR: LiteralString = """NAME_probe as materialized (
    select count(*) filter (where FILTER) as passing from (
        select class_id1, class_id2,
            prefix <=> (select nearest_prefix({axes}, %(embedding)b)) as off
        from {nearest} order by off limit {budget_probe}
    ) as probed
),
NAME_read as materialized (
    select sign, off, row_number() over () as place, FILTER as passes from (
        select * from (
            select sign, class_id1, class_id2,
                prefix <=> (select nearest_prefix({axes}, %(embedding)b)) as off
            from {nearest} order by off limit {budget}
        ) as nearest limit (
            select case when passing >= {budget_probe_passing} then %(read)s::bigint else 0 end
            from NAME_probe
        )
    ) as read
),
NAME as materialized (
    select i.sign, i.brief, i.digest, i.embedding <=> %(embedding)b as distance, r.place, r.off
    from {images} i join NAME_read r using (sign) where i.library_id = {library} and r.passes
)"""

# A crowd counts whether it passes or not: either way the index does not lead out of it.
FIT: LiteralString = """
counted as (
    select count(*) as every, count(*) filter (where place <= {budget_first}) as firsts,
        count(*) filter (where passes) as every_passing,
        count(*) filter (where passes and place <= {budget_first}) as firsts_passing
    from near_read group by floor(off / {crowd_width})
),
fit as (
    select case
        when coalesce(sum(firsts_passing), 0) < {budget_first_passing} or max(firsts) >= {crowd}
            then 0
        when sum(every_passing) < {budget_passing} or max(every) >= {crowd} then 1
        else 2
    end as fit from counted
)"""
