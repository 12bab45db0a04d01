"""Pairs of images that people have said are not doubles, until they take it back.

A pair is known by the signs of its images, so it stays dismissed when one of them is deleted and
comes back. Does not know which images are near to each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import errors
from psycopg_pool import ConnectionPool

from productsearch_engine.store.images import LibraryGoneError
from productsearch_engine.store.libraries import Library

Signs = tuple[int, int]
"""Of the two images of a pair, in any order."""


@dataclass(frozen=True)
class Dismissed:
    """A pair that is not shown."""

    sign: int
    other: int
    who: str
    dismissed_at: datetime


class Dismissals:
    """The dismissed pairs of one database's libraries."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def dismiss(self, library: Library, pair: Signs, who: str) -> None:
        """Let a pair be shown no more; one that is not already stays as it is.

        Raises LibraryGoneError.
        """
        try:
            with self._pool.connection() as connection:
                connection.execute(_DISMISS, _values(library, pair) | {"who": who})
        except errors.ForeignKeyViolation:
            raise LibraryGoneError from None

    def take_back(self, library: Library, pair: Signs) -> bool:
        """Let a pair be shown again; return whether it was dismissed."""
        with self._pool.connection() as connection:
            done = connection.execute(_TAKE_BACK, _values(library, pair))
            return bool(done.rowcount)

    def among(self, library: Library, pairs: Iterable[Signs]) -> set[Signs]:
        """Return those of some pairs that are dismissed, the lesser sign of each first."""
        asked = [(min(pair), max(pair)) for pair in pairs]
        values = {
            "library": library.id,
            "signs": [sign for sign, _ in asked],
            "others": [other for _, other in asked],
        }
        with self._pool.connection() as connection:
            return {(row[0], row[1]) for row in connection.execute(_AMONG, values)}

    def last(self, library: Library, count: int, before: datetime | None = None) -> list[Dismissed]:
        """Return up to ``count`` dismissed pairs, the newest first; those from ``before`` on."""
        values = {"library": library.id, "count": count, "before": before}
        with self._pool.connection() as connection:
            return [Dismissed(*row) for row in connection.execute(_LAST, values)]


def _values(library: Library, pair: Signs) -> dict[str, Any]:
    return {"library": library.id, "sign": min(pair), "other": max(pair)}


_DISMISS: LiteralString = """
insert into dismissed_pairs (library_id, sign, other, who)
values (%(library)s, %(sign)s, %(other)s, %(who)s) on conflict do nothing
"""
_TAKE_BACK: LiteralString = """
delete from dismissed_pairs
where library_id = %(library)s and sign = %(sign)s and other = %(other)s
"""
_AMONG: LiteralString = """
select d.sign, d.other
from unnest(%(signs)s::bigint[], %(others)s::bigint[]) as asked (sign, other)
join dismissed_pairs d on d.library_id = %(library)s
    and (d.sign, d.other) = (asked.sign, asked.other)
"""
_LAST: LiteralString = """
select sign, other, who, dismissed_at from dismissed_pairs
where library_id = %(library)s
    and (%(before)s::timestamptz is null or dismissed_at <= %(before)s::timestamptz)
order by dismissed_at desc limit %(count)s
"""
