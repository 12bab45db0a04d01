"""The writes to stored images of a library whose rows have buckets, as a cluster takes them.

Citus runs no triggers, locks rows of one shard alone, and writes to one distributed table a
statement. So each write is a transaction of short statements that name the buckets: rows of images
first, then those of prefixes, of small copies, and counts. Who writes to several images of a
library waits for its turn, so that two of them do not deadlock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, LiteralString

import psycopg

from productsearch_engine.store import adds, signs
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.statements import Key, among, at, at_digest, composed

_TURN = 7_201_190_006
"""With the library's id: one transaction at a time writes to several images."""


def keep(connection: psycopg.Connection[Any], library: Library, values: dict[str, Any]) -> None:
    """Keep the small copy of an image, if it is still stored."""
    values = values | at(values["sign"])
    with connection.transaction():
        if connection.execute(composed(_LOCK_FOR_COPY, library), values).rowcount:
            connection.execute(composed(adds.KEEP, library), values)


def update(
    connection: psycopg.Connection[Any], library: Library, key: Key, values: dict[str, Any]
) -> bool:
    """Change the values of one image that are not None; return whether it is stored."""
    with connection.transaction():
        found = _sign(connection, library, key)
        if found is None:
            return False
        values = values | {"sign": found} | at(found)
        is_stored = connection.execute(composed(_UPDATE, library), values).rowcount > 0
        if is_stored and (values["class_id1"], values["class_id2"]) != (None, None):
            connection.execute(composed(_UPDATE_NEAREST, library), values)
    return is_stored


def delete(connection: psycopg.Connection[Any], library: Library, key: Key, wanted: int) -> int:
    """Delete all of the ``wanted`` images, or none if one is not stored; return how many."""
    with connection.transaction() as transaction:
        adds.together(connection)
        if isinstance(key, bytes):
            found = _sign(connection, library, key)
            chosen = [] if found is None else [found]
        else:
            chosen = key
            take_turn(connection, library)
        values = {"signs": chosen} | among(chosen)
        deleted = connection.execute(composed(_DELETE, library), values).rowcount
        if deleted != wanted:
            raise psycopg.Rollback(transaction)
        forget(connection, library, chosen)
        connection.execute(COUNT_DELETED, {"library": library.id, "deleted": deleted})
    return deleted if deleted == wanted else 0


def take_turn(connection: psycopg.Connection[Any], library: Library) -> None:
    """Wait, until the transaction ends, for others that write to several images of a library."""
    key = [_TURN % 2**31, library.id % 2**31]
    connection.execute("select pg_advisory_xact_lock(%s, %s)", key)


def forget(connection: psycopg.Connection[Any], library: Library, some: Sequence[int]) -> None:
    """Delete what is stored beside the rows of deleted images."""
    values = {"signs": list(some)} | among(some)
    connection.execute(composed(_DELETE_NEAREST, library), values)
    connection.execute(composed(_DELETE_COPIES, library), values)


def by_bucket(some: Iterable[int]) -> list[tuple[int, list[int]]]:
    """Return signs in order, by the bucket that they are in."""
    found: dict[int, list[int]] = defaultdict(list)
    for sign in sorted(set(some)):
        found[signs.bucket(sign)].append(sign)
    return sorted(found.items())


def _sign(connection: psycopg.Connection[Any], library: Library, key: Key) -> int | None:
    """Return the sign of the one image that is meant, None if no image has its digest."""
    if not isinstance(key, bytes):
        return key[0]
    row = connection.execute(
        composed(_OF_DIGEST, library), {"digest": key} | at_digest(key)
    ).fetchone()
    return None if row is None else int(row[0])


_OF_DIGEST: LiteralString = (
    "select sign from {images} where library_id = {library} and digest = %(digest)s{at}"
)
# The lock lets no delete overtake: it would leave the copy of an image that is gone.
_LOCK_FOR_COPY: LiteralString = (
    "select from {images} where library_id = {library} and sign = %(sign)s{at} for key share"
)
_UPDATE: LiteralString = """
update {images} set brief = coalesce(%(brief)s, brief),
    class_id1 = coalesce(%(class_id1)s::int, class_id1),
    class_id2 = coalesce(%(class_id2)s::int, class_id2),
    updated_at = now()
where library_id = {library} and sign = %(sign)s{at}
"""
_UPDATE_NEAREST: LiteralString = """
update {nearest} set class_id1 = coalesce(%(class_id1)s::int, class_id1),
    class_id2 = coalesce(%(class_id2)s::int, class_id2)
where library_id = {library} and sign = %(sign)s{at}
"""
_DELETE: LiteralString = (
    "delete from {images} where library_id = {library} and sign = any(%(signs)s){among}"
)
_DELETE_NEAREST: LiteralString = (
    "delete from {nearest} where library_id = {library} and sign = any(%(signs)s){among}"
)
# By the parent table: a library that keeps no copies has no part of it.
_DELETE_COPIES: LiteralString = (
    "delete from kept_images where library_id = {library} and sign = any(%(signs)s){among}"
)
COUNT_DELETED: LiteralString = (
    "update libraries set image_count = image_count - %(deleted)s where id = %(library)s"
)
