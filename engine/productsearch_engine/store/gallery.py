"""Reads a library as people see it: pages of images, counts of class ids, one image, its copy.

A page begins where another one ended (keyset), so the thousandth costs what the first does.
Reads only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, LiteralString

import psycopg
from psycopg import errors
from psycopg_pool import ConnectionPool

from productsearch_engine.store import originals, selections, statements
from productsearch_engine.store.images import LibraryGoneError
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.originals import Original
from productsearch_engine.store.selections import Selection

Sort = Literal["newest", "oldest", "brief"]

FACETS_MAX = 24
"""Class ids that are counted: the most frequent ones."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One image of a library; ``has_copy``: a small copy of it is kept."""

    sign: int
    brief: bytes
    class_id1: int | None
    class_id2: int | None
    created_at: datetime
    updated_at: datetime
    has_copy: bool
    original: Original | None = None
    """The file that was added; None if an engine of before it was noted added it."""

    @property
    def version(self) -> int:
        """Microseconds since 1970 of the last change: equal while nobody has changed it."""
        return (self.updated_at - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place in a sorted list: that of an image."""

    key: datetime | bytes
    """Time of adding, or the brief."""
    sign: int


@dataclass(frozen=True, kw_only=True)
class Facets:
    """How many images have a class id; the most frequent first."""

    class_id1: list[tuple[int, int]]
    class_id2: list[tuple[int, int]]


class Gallery:
    """The images of one database's libraries, to look at."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def page(
        self,
        library: Library,
        selection: Selection,
        sort: Sort,
        count: int,
        *,
        place: Place | None = None,
        backwards: bool = False,
    ) -> list[Stored]:
        """Return up to ``count`` images after ``place``, or those before it, in the list's order.

        Raises LibraryGoneError.
        """
        descending = (sort == "newest") != backwards
        values = selections.values(selection) | {"count": count}
        if place is not None:
            values |= {"key": place.key, "sign": place.sign}
        with self._connection() as connection:
            text = _page_text(
                _select(library),
                selection,
                sort,
                descending=descending,
                placed=place is not None,
                folds=connection.info.server_version >= selections.FOLDS,
            )
            rows = connection.execute(statements.composed(text, library), values).fetchall()
        found = [_stored(row) for row in rows]
        return found[::-1] if backwards else found

    def count(self, library: Library, selection: Selection, most: int) -> tuple[int, bool]:
        """Count the images of a selection; return how many, and whether these are all.

        Counted to ``most``, and among twice as many images if each has to be looked at: the
        count costs the same in a library of a million.
        """
        values = selections.values(selection) | {"most": most, "looked_at": 2 * most}
        with self._connection() as connection:
            folds = connection.info.server_version >= selections.FOLDS
            text = selections.count_text(selection, folds=folds)
            row = connection.execute(statements.composed(text, library), values).fetchone()
        found, looked_at = (int(row[0]), int(row[1])) if row else (0, 0)
        return min(found, most), found < most and looked_at < values["looked_at"]

    def find(self, library: Library, signs: list[int]) -> list[Stored]:
        """Return those of some images that are stored, in the order of ``signs``."""
        select = _select(library)
        text: LiteralString = (
            f"{select} where library_id = {{library}} and sign = any(%(signs)s){{among}}"
        )
        values = {"signs": signs} | statements.among(signs)
        with self._connection() as connection:
            rows = connection.execute(statements.composed(text, library), values).fetchall()
        known = {int(row[0]): _stored(row) for row in rows}
        return [known[sign] for sign in signs if sign in known]

    def facets(self, library: Library) -> Facets:
        """Count the images of each class id."""
        with self._connection() as connection:
            first, second = (
                connection.execute(statements.composed(text, library), [FACETS_MAX]).fetchall()
                for text in (_FACET, _FACET.replace("class_id1", "class_id2"))
            )
        return Facets(
            class_id1=[(int(row[0]), int(row[1])) for row in first],
            class_id2=[(int(row[0]), int(row[1])) for row in second],
        )

    def copy(self, library: Library, sign: int) -> bytes | None:
        """Return the small copy of an image of this library as WebP, None if there is none."""
        with self._connection() as connection:
            values = {"sign": sign} | statements.at(sign)
            row = connection.execute(statements.composed(_COPY, library), values).fetchone()
        return None if row is None else bytes(row[0])

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            with self._pool.connection() as connection:
                yield connection
        except errors.UndefinedTable:
            raise LibraryGoneError from None


def place_of(image: Stored, sort: Sort) -> Place:
    """Return the place of an image in a list."""
    return Place(key=image.brief if sort == "brief" else image.created_at, sign=image.sign)


# By the parent table: a library that keeps no copies has no partition, and no row here. An "exists"
# would read all copies of a large library for each page: PostgreSQL does not know that few are
# asked for.
_SELECT: LiteralString = (
    "select i.sign, i.brief, i.class_id1, i.class_id2, i.created_at, i.updated_at, ("
    "select true from kept_images k where k.library_id = {library} and k.sign = i.sign limit 1),"
    " i.width, i.height, i.byte_count from {images} i"
)
# Citus joins rows of one bucket, and knows no such subselect.
_SELECT_BUCKETED: LiteralString = (
    "select sign, i.brief, i.class_id1, i.class_id2, i.created_at, i.updated_at,"
    " k.webp is not null, i.width, i.height, i.byte_count"
    " from {images} i left join kept_images k using ({key})"
)
_FACET: LiteralString = (
    "select class_id1, count(*) from {images} where class_id1 is not null"
    " group by class_id1 order by 2 desc, 1 limit %s"
)
_COPY: LiteralString = (
    "select webp from kept_images where library_id = {library} and sign = %(sign)s{at}"
)


def _select(library: Library) -> LiteralString:
    return _SELECT_BUCKETED if library.bucketed else _SELECT


def _page_text(
    select: LiteralString,
    selection: Selection,
    sort: Sort,
    *,
    descending: bool,
    placed: bool,
    folds: bool,
) -> LiteralString:
    key: LiteralString = "i.brief" if sort == "brief" else "i.created_at"
    kind: LiteralString = "bytea" if sort == "brief" else "timestamptz"
    conditions: list[LiteralString] = ["i.library_id = {library}"]
    conditions += selections.conditions(selection, folds=folds)
    if placed:
        sign: LiteralString = "<" if descending else ">"
        conditions.append(f"({key}, i.sign) {sign} (%(key)s::{kind}, %(sign)s::bigint)")
    order: LiteralString = "desc" if descending else "asc"
    where: LiteralString = " and ".join(conditions)
    return f"{select} where {where} order by {key} {order}, i.sign {order} limit %(count)s"


def _stored(row: tuple[Any, ...]) -> Stored:
    sign, brief, class_id1, class_id2, created_at, updated_at, has_copy, *original = row
    return Stored(
        sign=int(sign),
        brief=bytes(brief),
        class_id1=class_id1,
        class_id2=class_id2,
        created_at=created_at,
        updated_at=updated_at,
        has_copy=bool(has_copy),
        original=originals.of_columns(*original),
    )
