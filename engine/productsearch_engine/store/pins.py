"""The searches that people keep, each with the image that it must find, and their last runs.

A pin has all that a search needs: the vector, and a small copy to make it anew from, should the
library get another embedding. Does not search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import errors
from psycopg_pool import ConnectionPool

from productsearch_engine.embedding.interface import Vector
from productsearch_engine.limits import PINS_MAX, UNDO_S
from productsearch_engine.store.images import LibraryGoneError, half
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.queries import Query, array, query_of
from productsearch_engine.store.statements import ClassFilter


class TooManyPinsError(Exception):
    """The library has ``PINS_MAX`` pins."""


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A search and the image that it must find."""

    id: int
    sign: int
    query: Query
    generation: int
    """Of the library when the vector was made."""
    classes: ClassFilter
    who: str
    pinned_at: datetime
    ran_at: datetime | None
    rank: int | None
    """In the last run, from 1 on; None if it was not among the first ``PIN_RANK_MAX``."""
    score: float | None


class Pins:
    """The pins of one database's libraries."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def add(
        self,
        library: Library,
        query: Query,
        copy: bytes,
        sign: int,
        classes: ClassFilter,
        who: str,
    ) -> None:
        """Keep a search; one that is kept already stays. Raises TooManyPinsError."""
        values = {
            "library": library.id,
            "sign": sign,
            "source": query.digest,
            "generation": library.generation,
            "embedding": half(query.vector),
            "webp": copy,
            "region": array(query.region),
            "class_id1": classes.class_id1,
            "class_id2": classes.class_id2,
            "any_class": classes.any_class,
            "who": who,
            "most": PINS_MAX,
        }
        try:
            with self._pool.connection() as connection:
                row = connection.execute(_ADD, values).fetchone()
        except errors.ForeignKeyViolation:
            raise LibraryGoneError from None
        if row is not None and row[0] >= PINS_MAX:
            raise TooManyPinsError

    def list(self, library: Library) -> list[Pin]:
        """Return a library's pins, the newest first."""
        with self._pool.connection() as connection:
            rows = connection.execute(_LIST, [library.id]).fetchall()
        return [_pin(row) for row in rows]

    def copy(self, library: Library, pin: int) -> bytes | None:
        """Return the small copy of the image of a pin as WebP."""
        with self._pool.connection() as connection:
            row = connection.execute(
                "select webp from pins where library_id = %s and id = %s and removed_at is null",
                [library.id, pin],
            ).fetchone()
        return None if row is None else bytes(row[0])

    def remove(self, library: Library, pin: int) -> None:
        """Take a pin away; for a day it can be brought back."""
        with self._pool.connection() as connection:
            connection.execute(
                "update pins set removed_at = now() where library_id = %s and id = %s"
                " and removed_at is null",
                [library.id, pin],
            )

    def is_removed(self, library: Library, pin: int) -> bool:
        """Return whether a pin was removed, and can be brought back."""
        values = {"library": library.id, "pin": pin, "seconds": UNDO_S}
        with self._pool.connection() as connection:
            return connection.execute(_REMOVED, values).fetchone() is not None

    def bring_back(self, library: Library, pin: int) -> bool:
        """Undo a removal; return whether there was one. Raises TooManyPinsError."""
        values = {"library": library.id, "pin": pin, "most": PINS_MAX, "seconds": UNDO_S}
        with self._pool.connection() as connection:
            row = connection.execute(_BRING_BACK, values).fetchone()
        if row is not None and row[0] >= PINS_MAX:
            raise TooManyPinsError
        return row is not None

    def forget_old(self) -> None:
        """Forget the pins of all libraries that were removed more than a day ago."""
        with self._pool.connection() as connection:
            connection.execute(
                "delete from pins where removed_at < now() - make_interval(secs => %s)", [UNDO_S]
            )

    def renew(self, library: Library, pin: int, vector: Vector) -> None:
        """Give a pin the vector of the library's embedding."""
        with self._pool.connection() as connection:
            connection.execute(
                "update pins set embedding = %s, generation = %s where library_id = %s and id = %s",
                [half(vector), library.generation, library.id, pin],
            )

    def ran(
        self, library: Library, outcomes: Sequence[tuple[int, int | None, float | None]]
    ) -> None:
        """Write down a run: of each pin its id, the rank and the score of its image."""
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.executemany(
                "update pins set ran_at = now(), rank = %s, score = %s"
                " where library_id = %s and id = %s",
                [(rank, score, library.id, pin) for pin, rank, score in outcomes],
            )


_ADD: LiteralString = """
with known as (
    select count(*) as pins from pins where library_id = %(library)s and removed_at is null
),
added as (
    insert into pins (library_id, sign, source, generation, embedding, webp, region, class_id1,
        class_id2, any_class, who)
    select %(library)s, %(sign)s, %(source)s, %(generation)s, %(embedding)s, %(webp)s,
        %(region)s::float8[], %(class_id1)s::int, %(class_id2)s::int, %(any_class)s, %(who)s
    from known where pins < %(most)s
    on conflict (library_id, sign, source, coalesce(region, '{}'), coalesce(class_id1, 0),
        coalesce(class_id2, 0), any_class) do update set removed_at = null
)
select pins from known
"""
_BRING_BACK: LiteralString = """
with known as (
    select count(*) as pins from pins where library_id = %(library)s and removed_at is null
),
back as (
    update pins set removed_at = null from known
    where library_id = %(library)s and id = %(pin)s and pins < %(most)s
        and removed_at > now() - make_interval(secs => %(seconds)s)
)
select pins from known where exists (
    select from pins where library_id = %(library)s and id = %(pin)s
        and removed_at > now() - make_interval(secs => %(seconds)s)
)
"""
_REMOVED: LiteralString = (
    "select from pins where library_id = %(library)s and id = %(pin)s"
    " and removed_at > now() - make_interval(secs => %(seconds)s)"
)
_LIST: LiteralString = (
    "select id, sign, embedding, source, region, generation, class_id1, class_id2, any_class, who,"
    " pinned_at, ran_at, rank, score from pins where library_id = %s"
    " and removed_at is null order by id desc"
)


def _pin(row: tuple[Any, ...]) -> Pin:
    pin, sign, vector, source, region, generation, first, second, either, who, *times = row
    pinned_at, ran_at, rank, score = times
    return Pin(
        id=pin,
        sign=sign,
        query=query_of(vector, source, region, None),
        generation=generation,
        classes=ClassFilter(class_id1=first, class_id2=second, any_class=either),
        who=who,
        pinned_at=pinned_at,
        ran_at=ran_at,
        rank=rank,
        score=score,
    )
