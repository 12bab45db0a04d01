"""Loads rows in bulk into a library whose rows have buckets, as a cluster takes them.

The rows wait in the temporary table ``incoming``, which is with the coordinator, and go from there
into one distributed table a statement. A row is known by the bucket of its digest, so its sign has
to be of the same bucket.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, LiteralString, Protocol

from psycopg import Connection

from productsearch_engine.store import signs
from productsearch_engine.store.libraries import Library, LibraryError
from productsearch_engine.store.statements import among_digests, composed


class _Row(Protocol):
    @property
    def sign(self) -> int: ...
    @property
    def digest(self) -> bytes: ...


def check(rows: Iterable[_Row]) -> None:
    """Raise LibraryError for a row whose sign is not of its digest's bucket."""
    for row in rows:
        if signs.bucket(row.sign) != signs.bucket_of(row.digest):
            raise LibraryError(
                f"cont_sign {signs.to_text(row.sign)} does not begin as the image's digest does:"
                " a cluster does not find such an image; leave the cont_sign out"
            )


def insert(connection: Connection[Any], library: Library, room: int) -> int:
    """Store those rows of ``incoming`` that are new and have room; return how many."""
    _mark_stored(connection, library)
    connection.execute(_CHOOSE, {"room": room})
    added = connection.execute(composed(_ADD, library)).fetchall()
    connection.execute(_NOTE_ADDED, {"digests": [row[0] for row in added]})
    connection.execute(composed(_NEAREST, library))
    if library.keep_images:
        connection.execute(composed(_KEEP, library))
    return len(added)


def left(connection: Connection[Any], library: Library) -> list[int]:
    """Return the places of the rows that are not stored."""
    _mark_stored(connection, library)
    return [row[0] for row in connection.execute(_LEFT).fetchall()]


def _mark_stored(connection: Connection[Any], library: Library) -> None:
    """Note which digests of ``incoming`` the library has."""
    connection.execute("alter table incoming add column if not exists state text")
    digests = [row[0] for row in connection.execute("select digest from incoming").fetchall()]
    values = {"digests": digests} | among_digests(digests)
    found = connection.execute(composed(_STORED, library), values).fetchall()
    connection.execute(_MARK, {"digests": [row[0] for row in found]})


_STORED: LiteralString = (
    "select digest from {images} where library_id = {library} and digest = any(%(digests)s){among}"
)
_MARK: LiteralString = (
    "update incoming set state = case when digest = any(%(digests)s::bytea[]) then 'stored' end"
)
# As many as there is room for, in the order of the file.
_CHOOSE: LiteralString = """
update incoming set state = 'chosen' where place in (
    select place from (
        select distinct on (digest) place from incoming where state is null order by digest, place
    ) as fresh order by place limit greatest(%(room)s, 0)
)
"""
# In the order of the digests, as another import would, so that two do not deadlock.
_ADD: LiteralString = """
insert into {images} (library_id, bucket, sign, digest, brief, class_id1, class_id2, embedding,
    created_at, updated_at, width, height, byte_count)
select {library}, BUCKET, sign, digest, brief, class_id1, class_id2, embedding,
    coalesce(created_at, now()), coalesce(updated_at, created_at, now()), width, height, byte_count
from incoming where state = 'chosen' order by digest
on conflict do nothing returning digest
""".replace("BUCKET", signs.BUCKET)
_NOTE_ADDED: LiteralString = """
update incoming set state = 'added' where state = 'chosen' and digest = any(%(digests)s::bytea[])
"""
_NEAREST: LiteralString = """
insert into {nearest} (library_id, bucket, sign, class_id1, class_id2, prefix)
select {library}, BUCKET, sign, class_id1, class_id2,
    coalesce(prefix, nearest_prefix({axes}, embedding))
from incoming where state = 'added'
""".replace("BUCKET", signs.BUCKET)
_KEEP: LiteralString = """
insert into {kept} (library_id, bucket, sign, webp, region)
select {library}, BUCKET, sign, webp, region from incoming
where state = 'added' and webp is not null
on conflict do nothing
""".replace("BUCKET", signs.BUCKET)
_LEFT: LiteralString = "select place from incoming where state is null order by place"
