"""The SQL of a library's change of embedding, composed for the library's own tables.

Knows tables. Runs nothing: ``store.reembeddings`` does.
"""

from __future__ import annotations

from typing import LiteralString

from psycopg import sql

from productsearch_engine.store import tables
from productsearch_engine.store.libraries import Library


def composed(text: LiteralString, library: Library) -> bytes:
    """Insert the library's tables."""
    of_library = sql.SQL(text).format(
        images=tables.images(library.id, library.generation),
        kept=tables.kept(library.id),
        second=tables.reembedding(library.id),
        second_nearest=tables.reembedding_nearest(library.id),
        library=sql.Literal(library.id),
    )
    return of_library.as_bytes(None)


LEFT: LiteralString = """
select count(*), count(*) filter (where not exists (
    select from {kept} k where k.library_id = {library} and k.sign = i.sign
)), count(*) filter (where not exists (
    select from late_images l where l.library_id = {library} and l.sign = i.sign
))
from {images} i where i.library_id = {library}
    and not exists (select from {second} s where s.library_id = {library} and s.sign = i.sign)
"""

LEFT_WITHOUT: LiteralString = """
select count(*), count(*), count(*)
from {images} i where i.library_id = {library}
    and not exists (select from {second} s where s.library_id = {library} and s.sign = i.sign)
"""

COPIES: LiteralString = """
select i.sign, k.webp, k.region from {images} i
join {kept} k on k.library_id = {library} and k.sign = i.sign
where i.library_id = {library} and (%(after)s::bigint is null or i.sign > %(after)s::bigint)
    and not exists (select from {second} s where s.library_id = {library} and s.sign = i.sign)
order by i.sign limit %(count)s
"""

LATE: LiteralString = """
select sign from late_images where library_id = {library} order by sign limit %(count)s
"""

LATE_COPIES: LiteralString = """
select sign, webp, region from {kept} where library_id = {library} and sign = any(%(signs)s)
order by sign
"""

SAMPLE: LiteralString = """
select i.embedding, s.embedding from {images} i join {second} s on s.sign = i.sign
order by i.digest limit %s
"""

NEAREST: LiteralString = """
select digest from {table} order by embedding <=> %(vector)s, sign
limit %(count)s
"""

# The lock makes a change or a delete of the image wait: its trigger then finds the row.
STORE: LiteralString = """
insert into {second} (library_id, sign, digest, brief, class_id1, class_id2, embedding,
    created_at, updated_at, width, height, byte_count)
select library_id, sign, digest, brief, class_id1, class_id2, %(embedding)b, created_at, updated_at,
    width, height, byte_count
from {images} where library_id = {library} and sign = %(sign)s for share
on conflict do nothing
"""

STORE_BOTH: LiteralString = """
with stored as (STORE returning library_id, sign, class_id1, class_id2, embedding)
insert into {second_nearest} (library_id, sign, class_id1, class_id2, prefix)
select library_id, sign, class_id1, class_id2, nearest_prefix(%(axes)s::text, embedding) from stored
on conflict (library_id, sign) do update set class_id1 = excluded.class_id1,
    class_id2 = excluded.class_id2, prefix = excluded.prefix
""".replace("STORE", STORE)
"""The same where there is a table of prefixes."""

STORED: LiteralString = """
delete from late_images where library_id = {library} and sign = any(%(signs)s)
"""
